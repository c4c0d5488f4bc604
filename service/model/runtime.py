"""The only module that imports onnxruntime: load a graph, and run arrays through it."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# must be set before the import; users who want onnxruntime's telemetry can set the variable themselves
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
"""The start of the name of a node that refuses invalid input; after it come the reason, # and a number."""
CANNOT_TAKE = "the network does not accept these values"
WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
SILENT = 4
"""The lowest severity that onnxruntime logs; its log lines are not JSON, and its exceptions have the same text."""
SOURCE = re.compile(r"^\S+\.(?:cc|h):\d+ (?:\S.*?\) )?(?:\[with .*?\] )?")
"""The place in onnxruntime's code at the start of its messages."""

ort.set_default_logger_severity(SILENT)


class TensorInfo(NamedTuple):
    """An input or output of a graph; free dimensions are names or None."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


class Graph:
    """A loaded and optimised ONNX graph, which threads may share."""

    def __init__(
        self,
        content: bytes,
        *,
        name: str = "graph",
        weights: Path | None = None,
        threads: int = 1,
        prepack: bool = True,
        optimise: bool = True,
    ) -> None:
        """Load a graph from the bytes of an ONNX file; `name` stands in errors.

        `weights` is the folder of the files of its weights, which are mapped and may be deleted afterwards. Without
        `prepack` it keeps no rearranged copy of them. `optimise=False` runs the graph unchanged, for verification.
        Raises InvalidModel if onnxruntime cannot load it.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = SILENT
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.load_model_format", "ONNX")  # the one that is checked beforehand
        if weights is not None:
            options.add_session_config_entry(WEIGHTS_FOLDER, str(weights))
        if not prepack:
            options.add_session_config_entry("session.disable_prepacking", "1")
            options.enable_cpu_mem_arena = False
        if not optimise:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = ort.InferenceSession(
                content, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
            self.inputs = tuple(_tensor_info(tensor) for tensor in self._session.get_inputs())
            self.outputs = tuple(_tensor_info(tensor) for tensor in self._session.get_outputs())
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no other base; names may not be UTF-8
            raise InvalidModel(f"{name}: onnxruntime cannot load it: {error}", file=name) from None
        self.name = name
        self.size = len(content)
        """Bytes of the file, about 4 per weight."""
        self._output_names = [output.name for output in self.outputs]

    def run(self, feeds: Mapping[str, Array]) -> Array:
        """Return the graph's first output for the inputs by name; no other is computed. Raises InvalidInput."""
        return self._run(self._output_names[:1], feeds)[0]

    def run_all(self, feeds: Mapping[str, Array]) -> list[Array]:
        """Return all outputs of the graph for the inputs by name. Raises InvalidInput."""
        return self._run(self._output_names, feeds)

    def _run(self, outputs: list[str], feeds: Mapping[str, Array]) -> list[Array]:
        """Return outputs by name.

        Raises InvalidInput for values that the graph does not accept, such as unknown tokens: a graph that has
        replayed its golden answers fails only because of the values.
        """
        try:
            return [np.asarray(output) for output in self._session.run(outputs, feeds)]
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no other base
            raise InvalidInput(f"inputs: {CANNOT_TAKE}: {_reason(error)}", field="inputs") from None


def _reason(error: Exception) -> str:
    """Return why a run failed: a refusing node's reason, or onnxruntime's message without the place in its code."""
    if refused := re.search(rf"Name:'{REFUSES}([^'#]*) #", str(error)):
        return refused[1]
    return SOURCE.sub("", str(error).rpartition("Status Message: ")[2]).partition("\n")[0]


def _tensor_info(tensor: Any) -> TensorInfo:
    return TensorInfo(tensor.name, DTYPES.get(tensor.type, tensor.type), tuple(tensor.shape))
