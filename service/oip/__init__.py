"""The Open Inference Protocol, version 2, for clients of Triton and KServe.

    datatypes   the protocol's datatypes and numpy's, and tensors as raw bytes
    messages    requests and replies, independent of the wire format; shared by HTTP and gRPC
    reading     checks of the inputs that a request describes
    outputs     the outputs of a model, of the deterministic answer and of the samples
    infer       a request in the protocol's terms → one for the engine, and back
    metadata    descriptions of the server and of models
    form        the JSON of a request over HTTP, checked against the model
    wire        HTTP bodies: JSON, with tensors inside it or as raw bytes after it
    http        the paths below /v2

gRPC is in `service.oip.grpc_server`.
"""
