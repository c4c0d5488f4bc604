"""What every trial needs: medians of alternated contenders, small graphs, and a record of what was found."""

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from benchmarks.machine import conditions
from service.model.runtime import Array, Graph

BUILD = Path("build/trials")


def turns(contenders: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Array]:
    """Seconds that each takes, in as many rounds in which they take turns. One round before them warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(1 + rounds):
        for name, work in contenders.items():
            start = perf_counter()
            work()
            seconds[name].append(perf_counter() - start)
    return {name: np.array(taken[1:]) for name, taken in seconds.items()}


def make_graph(nodes: Sequence[NodeProto], inputs: Sequence[str], constants: Mapping[str, Array]) -> Graph:
    """Nodes that make `output` of float32 `inputs` of any shape, ready to run on one thread."""
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in inputs]
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "trial", tensors, [output], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return Graph(model.SerializeToString())


def record(name: str, findings: object) -> Path:
    """Write them as JSON, with what they were found on; where."""
    described: dict[str, Any] = {
        **conditions(f"benchmarks.trials.{name}"),
        "libraries": {library: version(library) for library in ("numpy", "onnxruntime")},
        "findings": findings,
    }
    path = BUILD / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(described, indent=2) + "\n")
    return path
