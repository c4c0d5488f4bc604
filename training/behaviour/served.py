"""A published model as the service has it, and its graphs to look into."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from service.engine.engine import Engine
from service.engine.masks import Float32, MaskCache
from service.engine.steps import Inputs, count_rows
from service.loading.load import load_model
from service.model.manifest import PREDICT_GRAPH, SAMPLE_GRAPH, Manifest, read_file
from service.model.runtime import Array, Graph

MASK_BYTES = 2**28
MAX_RUN = 2**26
"""Passes × rows × units of the widest mask, at a time."""


@dataclass(frozen=True, slots=True)
class Served:
    """One model version, loaded and verified as the service does it."""

    manifest: Manifest
    engine: Engine
    predict: bytes
    sample: bytes

    @property
    def title(self) -> str:
        return f"{self.manifest.name}/{self.manifest.version}"


def open_served(folder: Path) -> Served:
    """Raises InvalidModel where the service would not load it."""
    engine = load_model(folder, MaskCache(MASK_BYTES))
    graphs = (read_file(engine.manifest, folder, name) for name in (PREDICT_GRAPH, SAMPLE_GRAPH))
    return Served(engine.manifest, engine, *graphs)


def inputs_of(served: Served, rows: Array) -> Inputs:
    """Rows of the data, by the name of the model's input."""
    return {served.manifest.inputs[0].name: rows}


def run_masked(served: Served, inputs: Inputs, masks: Sequence[Float32]) -> Float32:
    """sample.onnx with these masks, one a site and (passes, 1, …): raw outputs (passes, rows, outputs)."""
    graph = Graph(served.sample)
    passes, widest = len(masks[0]), max(mask[0].size for mask in masks)
    at_once = max(1, MAX_RUN // (count_rows(inputs) * widest))
    runs = []
    for first in range(0, passes, at_once):
        feeds = {f"mask_{i}": mask[first : first + at_once] for i, mask in enumerate(masks)}
        runs.append(graph.run({**inputs, **feeds}))
    return np.concatenate(runs)


def operators(content: bytes) -> dict[str, int]:
    """How many of each operator a graph has."""
    names = [node.op_type for node in onnx.load_from_string(content).graph.node]
    return {name: names.count(name) for name in sorted(set(names))}


def weights(content: bytes) -> dict[str, Array]:
    """A graph's initializers by name."""
    graph = onnx.load_from_string(content).graph
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
