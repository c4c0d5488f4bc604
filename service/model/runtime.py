"""The door to onnxruntime: a graph in, arrays through it. Nothing else imports onnxruntime."""

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# onnxruntime reports its use to its maker unless told otherwise before it is imported; here it is for each to choose
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

from service.errors import InvalidInput, InvalidModel

Array = NDArray[Any]

DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
REFUSES = "refuses: "
"""Begins the name of a node that is there to refuse what the network does; then come the reason, # and a number."""
CANNOT_TAKE = "the network cannot take these values"
SILENT = 4
"""Severity of what onnxruntime logs, in lines of its own that are not JSON; what it raises says the same."""
SOURCE = re.compile(r"^\S+\.(?:cc|h):\d+ (?:\S.*?\) )?(?:\[with .*?\] )?")
"""The place in onnxruntime's code with which it begins a reason."""

ort.set_default_logger_severity(SILENT)


class TensorInfo(NamedTuple):
    """A graph's input or output: dimensions that are not fixed are names, or None."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


class Graph:
    """An ONNX graph, loaded and optimised. Threads may share it: a run keeps no state.

    `optimise=False` runs the graph as it stands, which verification uses to look at the graph itself.
    """

    def __init__(self, content: bytes, *, name: str = "graph", threads: int = 1, optimise: bool = True) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = SILENT
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.load_model_format", "ONNX")  # no other was looked through
        if not optimise:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = ort.InferenceSession(
                content, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
            self.inputs = tuple(_tensor_info(tensor) for tensor in self._session.get_inputs())
            self.outputs = tuple(_tensor_info(tensor) for tensor in self._session.get_outputs())
        except Exception as error:  # noqa: BLE001 - onnxruntime's own have no other base; names may not be UTF-8
            raise InvalidModel(f"{name}: onnxruntime cannot load it: {error}", file=name) from None
        self.name = name
        self.size = len(content)
        """Bytes of the file: near enough 4 a weight."""
        self._output_names = [output.name for output in self.outputs]

    def run(self, feeds: Mapping[str, Array]) -> Array:
        """Return the graph's first output; raises InvalidInput for values that it cannot take, such as unknown tokens.

        A graph that was loaded and replayed its golden answers can run, so that what is raised is due to the values.
        """
        try:
            return np.asarray(self._session.run(self._output_names[:1], feeds)[0])
        except Exception as error:  # noqa: BLE001 - onnxruntime's own have no other base
            raise InvalidInput(f"inputs: {CANNOT_TAKE}: {_reason(error)}", field="inputs") from None


def _reason(error: Exception) -> str:
    """Return why a run failed, without the place in onnxruntime's code; of a node that is there to refuse, its own."""
    if refused := re.search(rf"Name:'{REFUSES}([^'#]*) #", str(error)):
        return refused[1]
    return SOURCE.sub("", str(error).rpartition("Status Message: ")[2]).partition("\n")[0]


def _tensor_info(tensor: Any) -> TensorInfo:
    return TensorInfo(tensor.name, DTYPES.get(tensor.type, tensor.type), tuple(tensor.shape))
