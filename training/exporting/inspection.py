"""Checks of the exported graphs that need no run."""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, numpy_helper

from service.engine.network import MASK
from service.loading.load import Check
from training.errors import VerificationFailed
from training.exporting.exported import Exported
from training.exporting.folding import OWN
from training.exporting.graphs import metadata_holders
from training.exporting.inject import Draw
from training.exporting.sites import RANDOM

SAME_P = 1e-6
"""The largest difference of two equal dropout probabilities."""


def failed(check: str, detail: str) -> VerificationFailed:
    """Return the error of a failed check."""
    return VerificationFailed(f"{check}: {detail}", check=check)


def no_randomness(exported: Exported) -> Check:
    """Check that no random operator is left."""
    name = "no random operator is left"
    for file, model in _files(exported):
        for node in model.graph.node:
            if node.op_type in {"Dropout", *RANDOM}:
                raise failed(name, f"{file} has {node.op_type} node {node.name!r}")
    counts = (f"{len(model.graph.node)} nodes in {file}" for file, model in _files(exported))
    return Check(name, ", ".join(counts))


def same_weights(exported: Exported) -> Check:
    """Check that sample.onnx has weights of predict.onnx alone, and all of them unless it takes other outputs of it."""
    name = "both graphs have the same weights"
    has_body = len(exported.predict.graph.output) > 1
    predict, sample = _weights(exported.predict.graph), _weights(exported.sample.graph)
    for weight in sorted(predict.keys() | sample.keys()):
        if weight in predict and weight not in sample and has_body:
            continue
        if weight not in predict or weight not in sample:
            raise failed(name, f"{weight!r} is only in {'sample' if weight in sample else 'predict'}.onnx")
        if predict[weight] != sample[weight]:
            raise failed(name, f"{weight!r} differs{_count_differing(predict[weight], sample[weight])}")
    return Check(name, f"{len(predict)} tensors, {sum(math.prod(weight.dims) for weight in predict.values())} numbers")


def no_metadata(exported: Exported) -> Check:
    """Check that no metadata is left: exporters write stack traces with local paths into it."""
    name = "no local path or stack trace"
    for file, model in _files(exported):
        for part in metadata_holders(model):
            if getattr(part, "doc_string", "") or getattr(part, "metadata_props", ()):
                raise failed(name, f"{file} has metadata at {getattr(part, 'name', '') or 'its top'!r}")
        content = model.SerializeToString()
        for folder in _here():
            if folder.encode() in content:
                raise failed(name, f"{file} contains the path {folder}")
    return Check(name, "no metadata at all")


def every_draw_is_a_mask(exported: Exported, draws: Sequence[Draw]) -> Check:
    """Check that the masks of sample.onnx, and the sites that are bypassed, match the draws of the network."""
    name = "every random draw of the network is a mask of the graph"
    shapes = {value.name: _dims(value.type.tensor_type.shape.dim) for value in exported.sample.graph.input}
    masks = [shape for mask, shape in shapes.items() if mask.startswith(MASK)]
    sites, bypassed = exported.sites, exported.bypassed
    if len(sites) != len(masks) or len(draws) != len(sites) + len(bypassed):
        also = f", {len(bypassed)} bypassed ones" if bypassed else ""
        raise failed(name, f"{len(draws)} draws, {len(sites)} sites{also}, {len(masks)} mask inputs")
    for i, site in enumerate(sites):
        if shapes.get(f"{MASK}{i}") != ("passes", 1, *site.shape):
            raise failed(name, f"mask_{i} is {shapes.get(f'mask_{i}')} in the graph, {site.shape} in the manifest")
    sampled = iter(sites)
    for number, draw in enumerate(draws):
        site = bypassed.get(number) or next(sampled)
        if abs(1 - draw.keep - site.p) > SAME_P:
            raise failed(name, f"{site.name} drops with p={site.p}, the network with p={1 - draw.keep:.6f}")
    return Check(name, f"{len(sites)} a pass{_others_bypassed(exported)}")


def _others_bypassed(exported: Exported) -> str:
    names = ", ".join(exported.bypassed_sites)
    return f"; bypassed: {names}" if names else ""


def _here() -> Iterator[str]:
    """Yield the beginnings of paths of this folder and this user."""
    for folder in (Path.cwd(), Path.home()):
        if folder != Path(folder.anchor):
            yield f"{folder}{os.sep}"


def _files(exported: Exported) -> Iterator[tuple[str, ModelProto]]:
    yield "predict.onnx", exported.predict
    yield "sample.onnx", exported.sample


def _weights(graph: GraphProto) -> dict[str, TensorProto]:
    """Return all constants except those of the folding; two are equal if their bytes or places are."""
    return {tensor.name: tensor for tensor in graph.initializer if not tensor.name.startswith(OWN)}


def _count_differing(one: TensorProto, other: TensorProto) -> str:
    if TensorProto.EXTERNAL in (one.data_location, other.data_location) or one.dims != other.dims:
        return ""
    return f" in {int(np.sum(numpy_helper.to_array(one) != numpy_helper.to_array(other)))} numbers"


def _dims(dims: Sequence[object]) -> tuple[int | str, ...]:
    return tuple(getattr(dim, "dim_param", "") or getattr(dim, "dim_value", 0) for dim in dims)
