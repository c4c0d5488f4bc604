"""The Open Inference Protocol, version 2, as clients of Triton and KServe speak it.

    datatypes   the protocol's types ⇄ numpy's, and tensors ⇄ raw bytes
    messages    what is asked and what is answered, in no format yet; shared by HTTP and gRPC
    reading     the inputs that a caller describes → arrays that fit the model
    outputs     what a model can be asked for, of the deterministic answer and of the thinned networks
    infer       a question → its answer
    metadata    what server and models say of themselves
    wire        HTTP bodies ⇄ messages: JSON, with tensors inside or, as raw bytes, behind it
    http        the paths below /v2

gRPC is in `service.oip.grpc_server`.
"""
