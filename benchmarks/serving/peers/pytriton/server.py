"""Triton through PyTriton: Triton's own HTTP server in front of a Python function."""

import os
from pathlib import Path

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from benchmarks.serving.peers.task import HOST, PORT, WORKERS, Float32, Network


class Classifier:
    """The network."""

    def __init__(self) -> None:
        """Open the network."""
        self.network = Network()

    @batch
    def __call__(self, input: Float32) -> dict[str, Float32]:  # noqa: A002 - the tensor's name
        """Return the class probabilities."""
        return {"probabilities": self.network(input)}


if __name__ == "__main__":
    # The default shared memory needs Triton's own patch release of Python; for a single row a socket costs no more.
    os.environ["PYTRITON_NO_TENSORSTORE"] = "1"
    classifiers = [Classifier() for _ in range(WORKERS)]
    network = classifiers[0].network
    config = TritonConfig(http_address=HOST, http_port=PORT, allow_grpc=False, allow_metrics=False, log_verbose=0)
    with Triton(config=config, workspace=Path.cwd() / "triton") as triton:
        triton.bind(
            model_name="mlp",
            infer_func=classifiers,
            inputs=[Tensor(name="input", dtype=np.float32, shape=(network.features,))],
            outputs=[Tensor(name="probabilities", dtype=np.float32, shape=(network.classes,))],
            # Dynamic batching saves calls of Python; without delay a single caller does not wait.
            config=ModelConfig(max_batch_size=64, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        triton.serve()
