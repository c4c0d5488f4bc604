"""LitServe: an HTTP process and a process for the network, with a queue in between."""

from typing import Any

import litserve
import numpy as np

from benchmarks.serving.peers.task import HOST, PORT, WORKERS, Float32, Network


class Classifier(litserve.LitAPI):
    """The network."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
        """Open the network."""
        self.network = Network()

    def decode_request(self, request: dict[str, Any]) -> Float32:
        """Return the rows of a request's body."""
        return np.array(request["inputs"], dtype=np.float32)

    def predict(self, x: Float32) -> Float32:
        """Return the class probabilities."""
        return self.network(x)

    def encode_response(self, output: Float32) -> dict[str, Any]:
        """Return the reply's body."""
        return {"probabilities": output.tolist()}


if __name__ == "__main__":
    # Batching and the queue of ZeroMQ were tried; with a network this small neither was faster in every trial.
    server = litserve.LitServer(Classifier(), accelerator="cpu", workers_per_device=WORKERS)
    server.run(
        host=HOST,
        port=PORT,
        num_api_servers=WORKERS,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
        loop="uvloop",
        http="httptools",
    )
