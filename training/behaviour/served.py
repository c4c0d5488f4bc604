"""A published model as the service loads it, and runs of its graphs and of torch modules."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx.external_data_helper import load_external_data_for_model
from torch import Tensor, nn

from service.engine.engine import Engine
from service.engine.inputs import Inputs, count_rows
from service.engine.masks import Float32, MaskCache
from service.engine.network import Network
from service.loading.load import load_model
from service.model.manifest import PREDICT_GRAPH, SAMPLE_GRAPH, Manifest, read_file
from service.model.runtime import Array, Graph

GRAPHS = (PREDICT_GRAPH, SAMPLE_GRAPH)
MASK_BYTES = 2**28
"""Memory for masks, in bytes."""
MAX_RUN = 2**26
"""Passes × rows × units of the widest mask that run at once."""


@dataclass(frozen=True, slots=True)
class Served:
    """A model version, loaded and verified as by the service."""

    manifest: Manifest
    engine: Engine
    predict: bytes
    sample: bytes

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.manifest.name}/{self.manifest.version}"


def open_served(folder: Path) -> Served:
    """Load a model; raise InvalidModel where the service would refuse it."""
    engine = load_model(folder, MaskCache(MASK_BYTES))
    return Served(engine.manifest, engine, *(_read_graph(engine.manifest, folder, name) for name in GRAPHS))


def _read_graph(manifest: Manifest, folder: Path, name: str) -> bytes:
    """Return a graph with all its weights in it."""
    model = onnx.load_from_string(read_file(manifest, folder, name))
    load_external_data_for_model(model, str(folder))
    return model.SerializeToString()


def inputs_of(served: Served, rows: Array) -> Inputs:
    """Return rows of the data by the name of the model's input."""
    return {served.manifest.inputs[0].name: rows}


def run_masked(served: Served, inputs: Inputs, masks: Sequence[Float32]) -> Float32:
    """Return raw outputs (passes, rows, outputs) of sample.onnx with these masks, one a site and (passes, 1, …)."""
    network = Network(Graph(served.predict), Graph(served.sample))
    _, begun = network.begin(inputs)
    passes, widest = len(masks[0]), max(mask[0].size for mask in masks)
    at_once = max(1, MAX_RUN // (count_rows(inputs) * widest))
    starts = range(0, passes, at_once)
    return np.concatenate(
        [network.sample(begun, [mask[first : first + at_once] for mask in masks]) for first in starts]
    )


def operators(content: bytes) -> dict[str, int]:
    """Return the number of each operator in a graph."""
    names = [node.op_type for node in onnx.load_from_string(content).graph.node]
    return {name: names.count(name) for name in sorted(set(names))}


def weights(content: bytes) -> dict[str, Array]:
    """Return a graph's initializers by name."""
    graph = onnx.load_from_string(content).graph
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}


def largest_relative(one: Array, other: Array) -> float:
    """Return the largest difference, relative to the largest number, or to 1 if that is larger."""
    return float(np.abs(one - other).max() / max(1.0, float(np.abs(one).max())))


def distinct(answer: Callable[[], Array], calls: int) -> int:
    """Return the number of different answers, to the last bit."""
    return len({answer().tobytes() for _ in range(calls)})


def run(module: nn.Module, rows: Array | Tensor) -> Array:
    """Return torch's answers, in the module's current mode."""
    with torch.no_grad():
        answer: Array = module(torch.as_tensor(rows)).numpy()
    return answer
