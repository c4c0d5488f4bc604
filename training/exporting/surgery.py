"""Turn one graph with dropout into predict.onnx without it, and sample.onnx with masks as inputs.

Any ONNX graph with dropout and a free first axis of rows can be used, whatever its exporter.
"""

from collections.abc import Sequence

from onnx import ModelProto, helper

from training.errors import CannotExport
from training.exporting.folding import Folding
from training.exporting.graphs import ROWS, bypass, finished, normalised, prune
from training.exporting.layout import find_layouts
from training.exporting.sites import Site, mark_sites


def find_sites(model: ModelProto) -> tuple[Site, ...]:
    """Return the dropout sites of a graph, in order of execution; raise CannotExport as `to_sample` does."""
    return mark_sites(normalised(model))[1]


def to_predict(model: ModelProto) -> ModelProto:
    """Return the graph without dropout; raise CannotExport."""
    marked, sites = mark_sites(normalised(model))
    bypass(marked.graph, {site.output: site.source for site in sites})
    prune(marked.graph)
    layouts = find_layouts(marked)
    for output in marked.graph.output:
        if (layout := layouts.get(output.name)) and layout.axis == 0:
            shape: list[str | int | None] = [ROWS, *layout.dims[1:]]
            output.CopyFrom(helper.make_tensor_value_info(output.name, layout.dtype, shape))
    return finished(marked)


def to_sample(model: ModelProto, chosen: Sequence[int] | None = None) -> ModelProto:
    """Return the graph with a mask as input for each chosen dropout site, by default all; raise CannotExport.

    Inputs: those of the model (rows, …), and mask_<i> (passes, 1, *shape of site i), float32, 0 or 1/(1-p). Output:
    (passes, rows, …). Masks of ones give the predict graph's output. `chosen` are numbers of sites; dropout at the
    others is off.
    """
    marked, sites = mark_sites(normalised(model))
    if not sites:
        raise CannotExport("the network has no active dropout on the way to its output, so there is nothing to sample")
    Folding(marked, sites if chosen is None else [sites[number] for number in chosen]).run()
    prune(marked.graph)
    return finished(marked)
