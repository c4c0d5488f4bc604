"""KServe's SDK: a custom model, called by the Open Inference Protocol."""

import numpy as np
from kserve import InferRequest, InferResponse, Model, ModelServer
from kserve.utils.utils import get_predict_response

from benchmarks.serving.peers.task import PORT, WORKERS, Network


class Classifier(Model):
    """The network; the SDK has no batching."""

    def __init__(self, name: str) -> None:
        """Open the network."""
        super().__init__(name)
        self.network = Network()
        self.ready = True

    def predict(self, payload: InferRequest, headers: dict[str, str] | None = None) -> InferResponse:  # noqa: ARG002
        """Return the class probabilities."""
        rows = payload.inputs[0].as_numpy().astype(np.float32, copy=False)
        return get_predict_response(payload, self.network(rows), self.name)


if __name__ == "__main__":
    ModelServer(
        http_port=PORT, workers=WORKERS, enable_grpc=False, enable_latency_logging=False, event_loop="uvloop"
    ).start([Classifier("mlp")])
