"""BentoML: a service class, `bentoml serve`."""

import os
import sys

import bentoml
import numpy as np

from benchmarks.serving.peers.task import HOST, PORT, WORKERS, Network


@bentoml.service(
    workers=WORKERS,
    traffic={"timeout": 60},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)
class Classifier:
    """The network."""

    def __init__(self) -> None:
        self.network = Network()

    @bentoml.api
    async def predict(self, inputs: list[list[float]]) -> dict[str, list[list[float]]]:
        """On the event loop."""
        return {"probabilities": self.network(np.array(inputs, dtype=np.float32)).tolist()}


if __name__ == "__main__":
    os.environ["BENTOML_DO_NOT_TRACK"] = "true"
    service = "benchmarks.serving.peers.bentoml.server:Classifier"
    command = [sys.executable, "-m", "bentoml", "serve", service, "--host", HOST, "--port", str(PORT)]
    os.execv(sys.executable, command)  # noqa: S606 - our own
