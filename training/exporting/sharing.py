"""Compute what no mask reaches once a row: predict.onnx returns it, and sample.onnx takes it.

    predict.onnx: input (rows, …) ─ body ─┬─ the rest without dropout ─ output
                                          └─ body_0 (rows, …), …
    sample.onnx:  body_0 (rows, …), …, mask_0 (passes, 1, …), … ─ the rest ─ output (passes, rows, …)

So samples of a network with dropout in its last layers cost little more than its deterministic answer.
"""

from collections.abc import Iterator, Mapping

from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper

from service.engine.network import MASK
from training.exporting.graphs import ROWS, finished, producers, prune
from training.exporting.layout import Layout, find_layouts

BODY = "body_"
"""The prefix of the tensors that both graphs share."""


def share_body(predict: ModelProto, sample: ModelProto) -> tuple[ModelProto, ModelProto]:
    """Return both graphs of one network, in which sample.onnx computes nothing that predict.onnx does.

    Tensors that are not (rows, …) are computed by both graphs, from others that are. Without a body both are unchanged.
    """
    frontier = _Frontier(predict, sample)
    if not frontier.shared:
        return predict, sample
    shared, rest = ModelProto(), ModelProto()
    shared.CopyFrom(predict)
    rest.CopyFrom(sample)
    _keep_rest(rest.graph, frontier)
    values = [_value(name, frontier.layouts[name]) for name in frontier.shared]
    shared.graph.output.extend(values)
    rest.graph.input.extend(values)
    rest.graph.input.sort(key=lambda value: value.name.startswith(MASK))
    prune(rest.graph)
    names = _new_names(frontier.shared, shared.graph)
    for model in (shared, rest):
        _rename(model.graph, names)
    return finished(shared), finished(rest)


class _Frontier:
    """The tensors of sample.onnx between what no mask reaches and the rest."""

    def __init__(self, predict: ModelProto, sample: ModelProto) -> None:
        self.layouts = find_layouts(predict)
        self.inputs: dict[str, None] = {}
        """The inputs of the model that the rest reads itself."""
        self.shared: dict[str, None] = {}
        """The tensors (rows, …) that the rest takes from predict.onnx, in order of their readers."""
        self.rest: set[str] = set()
        """The tensors that sample.onnx computes, by masks or because they are not (rows, …)."""
        self._given = {value.name for value in sample.graph.input}
        self._made, self._also_made = producers(sample.graph), producers(predict.graph)
        self.rest.update(_masked(sample.graph))
        readers = [node for node in sample.graph.node if self.rest.intersection(node.output)]
        while readers:
            readers.extend(self._supply(readers.pop(0)))

    def _supply(self, reader: NodeProto) -> Iterator[NodeProto]:
        """Let a node of the rest have what it reads; yield the nodes that the rest needs for that."""
        for name in reader.input:
            if name in self._given:
                self.inputs[name] = None
            elif name not in self._made or name in self.rest:
                continue
            elif self._can_be_shared(name):
                self.shared[name] = None
            else:
                self.rest.update(self._made[name].output)
                yield self._made[name]

    def _can_be_shared(self, name: str) -> bool:
        layout = self.layouts.get(name)
        same = name in self._also_made and self._also_made[name].op_type == self._made[name].op_type
        return same and layout is not None and layout.axis == 0 and layout.dims[0] == 1


def _masked(graph: GraphProto) -> Iterator[str]:
    """Yield the tensors that depend on masks, if only on their number."""
    masked = {value.name for value in graph.input if value.name.startswith(MASK)}
    for node in graph.node:
        if masked.intersection(node.input):
            masked.update(node.output)
            yield from node.output


def _keep_rest(graph: GraphProto, frontier: _Frontier) -> None:
    """Remove the body from sample.onnx, and the inputs that only the body reads."""
    nodes = [node for node in graph.node if frontier.rest.intersection(node.output)]
    inputs = [value for value in graph.input if value.name in frontier.inputs]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.extend(inputs)


def _value(name: str, layout: Layout) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, layout.dtype, [ROWS, *layout.dims[1:]])


def _new_names(shared: Mapping[str, None], graph: GraphProto) -> dict[str, str]:
    """Return body_0, body_1, … for the shared tensors, other names where these are taken."""
    taken = {name for node in graph.node for name in (*node.input, *node.output)} | {v.name for v in graph.input}
    names: dict[str, str] = {}
    for number, name in enumerate(shared):
        new = f"{BODY}{number}"
        while new in taken:
            new += "_"
        names[name] = new
    return names


def _rename(graph: GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for tensors in (node.input, node.output):
            for i, name in enumerate(tensors):
                tensors[i] = names.get(name, name)
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)
