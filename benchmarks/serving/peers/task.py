"""The task of every peer: class probabilities of one network, on one port, with so many workers."""

import os
import socket
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

MODEL = os.environ["BENCHMARK_MODEL"]
HOST = "127.0.0.1"
PORT = int(os.environ["BENCHMARK_PORT"])
WORKERS = int(os.environ["BENCHMARK_WORKERS"])


class Network:
    """predict.onnx with one thread, as small networks are slower with more."""

    def __init__(self, path: str = MODEL) -> None:
        """Open the graph."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._path = path
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name
        self.features = int(self._session.get_inputs()[0].shape[1])
        self.classes = int(self._session.get_outputs()[0].shape[1])

    def __call__(self, rows: Float32) -> Float32:
        """Return probabilities (rows, classes) for rows (rows, features)."""
        logits = self._session.run([self._output], {self._input: rows})[0]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path, so that another process opens the file itself."""
        return Network, (self._path,)


def free_port() -> int:
    """Return a free port, for further listeners of a peer."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])
