"""A layer and its output, whole with masks, and thinned: of the units that each pass keeps alone."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from onnx import NodeProto, helper

from benchmarks.trials.trial import make_graph
from service.model.runtime import Array, Graph

MULTIPLE = 16
"""Units of a padded pass: a vector of float32."""


class Network(NamedTuple):
    """Weights from the first dropout on; those of thinned networks have a first axis of passes."""

    w1: Array
    b1: Array
    w2: Array


def layers(x: str = "x", end: str = "", output: str = "output") -> list[NodeProto]:
    """From x (…, rows, units) to output (…, rows, outputs), by the constants or inputs w1, b1 and w2 of this ending."""
    return [
        helper.make_node("MatMul", [x, f"w1{end}"], [f"product{end}"]),
        helper.make_node("Add", [f"product{end}", f"b1{end}"], [f"sum{end}"]),
        helper.make_node("Relu", [f"sum{end}"], [f"hidden{end}"]),
        helper.make_node("MatMul", [f"hidden{end}", f"w2{end}"], [output]),
    ]


def full_graph(network: Network) -> Graph:
    """Masks are inputs, and no weight depends on them."""
    product, add, relu, last = layers("masked_0")
    first_mask = helper.make_node("Mul", ["x", "mask_0"], ["masked_0"])
    second_mask = helper.make_node("Mul", ["hidden", "mask_1"], ["masked_1"])
    last.input[0] = "masked_1"
    nodes = [first_mask, product, add, relu, second_mask, last]
    return make_graph(nodes, ("x", "mask_0", "mask_1"), network._asdict())


def packed_graph(thinned: Network) -> Graph:
    """A constant matrix for each pass: onnxruntime packs those of two axes."""
    passes = len(thinned.w1)
    nodes = [helper.make_node("Split", ["x"], [f"x_{t}" for t in range(passes)], axis=0, num_outputs=passes)]
    for t in range(passes):
        nodes += layers(f"x_{t}", f"_{t}", f"output_{t}")
    nodes.append(helper.make_node("Concat", [f"output_{t}" for t in range(passes)], ["output"], axis=0))
    weights = thinned._asdict().items()
    return make_graph(nodes, ("x",), {f"{name}_{t}": array[t] for name, array in weights for t in range(passes)})


def kept_units(masks: Array) -> tuple[Array, Array]:
    """Masks (passes, 1, W) → units kept, padded with dropped ones, and their mask values: (passes, n) each."""
    kept = masks[:, 0] > 0
    longest = -(-int(kept.sum(axis=1).max()) // MULTIPLE) * MULTIPLE
    units = np.argsort(~kept, axis=1, kind="stable")[:, :longest]
    return units, np.take_along_axis(masks[:, 0], units, axis=1)


def gather(network: Network, masks: Sequence[Array]) -> tuple[Array, Network]:
    """The first site's units of each pass, (passes, n), and the networks that are left; mask values go into weights."""
    (sources, source_scales), (targets, target_scales) = map(kept_units, masks)
    w1 = np.empty((*sources.shape, targets.shape[1]), dtype=np.float32)
    for weights, some, others in zip(w1, sources, targets, strict=True):
        np.take(np.take(network.w1, some, axis=0), others, axis=1, out=weights, mode="clip")
    w1 *= source_scales[..., None]
    return sources, Network(w1, network.b1[targets][:, None], network.w2[targets] * target_scales[..., None])


def take_units(x: Array, units: Array) -> Array:
    """Of hidden units (rows, W) those of each pass: (passes, rows, n)."""
    return np.ascontiguousarray(np.take(x, units, axis=1).swapaxes(0, 1))
