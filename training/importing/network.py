"""Make the graph with dropout of a flat graph, and the original to verify it against."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from onnx import ModelProto
from torch import Tensor

from service.model.manifest import TensorSpec, WholeNumbers
from service.model.runtime import Array
from training.errors import CannotExport
from training.exporting.ending import NOTHING, Ending, to_logits
from training.exporting.exported import DropoutGraph
from training.exporting.refusals import add_refusals
from training.exporting.surgery import find_sites, to_sample
from training.exporting.weights import Weights
from training.importing.axes import fix_axes, free_rows, input_specs
from training.importing.original import Original
from training.importing.source import Source
from training.importing.untouched import drop_ratios

EXAMPLE_ROWS = 17
"""The number of rows of the example."""
SEED = 7
"""The seed of random rows."""


@dataclass(frozen=True)
class Network:
    """The graph with its dropout, the original, and an example: one tensor (rows, …) an input.

    `fixed_rows` is the number of rows the file was fixed at, None for any.
    """

    graph: DropoutGraph
    original: Original
    example: tuple[Tensor, ...]
    fixed_rows: int | None


def make_network(source: Source, rows: Sequence[Array], *, classification: bool) -> Network:
    """Return the network of a file; the graph of a classification has logits as its output.

    `rows` are arrays (rows, …), one an input, that may be published; without them, random numbers are used. Raises
    CannotExport.
    """
    model = ModelProto()
    model.CopyFrom(source.model)
    fix_axes(model, rows)
    inputs = input_specs(model)
    before = ModelProto()
    before.CopyFrom(model)
    fixed = free_rows(model)
    inputs = add_refusals(model, inputs)
    example = _as_tensors(inputs, rows or random_rows(inputs))
    try:
        _refuse_without_dropout(model)
        original = Original(before, drop_ratios(source.untouched), fixed)
        ending = to_logits(model, original.predict(example)) if classification else NOTHING
        graph = _dropout_graph(model, inputs, ending)
    except CannotExport as error:
        raise CannotExport(f"{error.message}{freed_advice(fixed)}") from None
    return Network(graph, original, example, fixed)


def freed_advice(fixed_rows: int | None) -> str:
    """Return advice for a file whose number of rows was freed."""
    if fixed_rows is None:
        return ""
    return (
        f"; the file is fixed at {fixed_rows} rows, and freeing that may be the cause: export it with a free first axis"
        " (in torch, dynamic_axes or dynamic_shapes)"
    )


def random_rows(inputs: Sequence[TensorSpec]) -> list[Array]:
    """Return standard normal numbers; whole numbers of the known range, else 0 and 1, which most networks accept."""
    rng = np.random.default_rng(SEED)
    return [
        _random_whole(rng, spec)
        if spec.ranges or spec.dtype.startswith("int")
        else rng.normal(size=(EXAMPLE_ROWS, *spec.shape))
        for spec in inputs
    ]


def _random_whole(rng: np.random.Generator, spec: TensorSpec) -> Array:
    ends = [_ends(one) for one in spec.ranges or (WholeNumbers(),)]
    lowest, highest = (np.array(end).reshape(spec.shape if len(ends) > 1 else ()) for end in zip(*ends, strict=True))
    return rng.integers(lowest, highest, size=(EXAMPLE_ROWS, *spec.shape), endpoint=True)


def _ends(one: WholeNumbers) -> tuple[int, int]:
    """Return the smallest number from 0 on, if there is one in the range, and the largest."""
    lowest = max(0, one.lowest or 0)
    highest = lowest + 1 if one.highest is None else one.highest
    return min(lowest, highest), highest


def _as_tensors(inputs: Sequence[TensorSpec], rows: Sequence[Array]) -> tuple[Tensor, ...]:
    pairs = zip(inputs, rows, strict=True)
    return tuple(torch.from_numpy(np.array(array[:EXAMPLE_ROWS], dtype=spec.dtype)) for spec, array in pairs)


def _refuse_without_dropout(model: ModelProto) -> None:
    if not find_sites(model):
        raise CannotExport(
            "the file has no active dropout on the way to its output, so there is nothing to sample; exporters leave it"
            " out unless they export for training (docs/import.md)"
        )


def _dropout_graph(model: ModelProto, inputs: tuple[TensorSpec, ...], ending: Ending) -> DropoutGraph:
    sites, weights = find_sites(model), Weights()
    weights.take_from(model)
    output = _output(to_sample(model, [len(sites) - 1]))
    return DropoutGraph(model, sites, inputs, output, ending, weights)


def _output(sample: ModelProto) -> TensorSpec:
    """Return the specification of one row of the output; sample.onnx's has passes and rows first."""
    output = sample.graph.output[0]
    shape = tuple(dim.dim_value for dim in output.type.tensor_type.shape.dim)[2:]
    if len(shape) != 1:
        raise CannotExport(f"output {output.name!r}: must be of shape (rows, outputs); a row's is of shape {shape}")
    return TensorSpec(name=output.name, dtype="float32", shape=shape)
