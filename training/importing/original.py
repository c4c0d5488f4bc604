"""Run a file's own network with given masks in place of its random draws.

One pass at a time, on whole batches of the size that the file declares. The graph is flat and in evaluation mode, by
the code that both published graphs went through; `untouched` checks that code. The code that makes sample.onnx is not
used, except for `find_block`, which finds the ends of a dropout written as arithmetic. The probability does not rely on
it: ratios are the file's own, and uniform draws pass through the file's own comparison.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.helper import tensor_dtype_to_np_dtype
from onnx.shape_inference import infer_shapes
from torch import Tensor

from service.errors import DropserveError, InvalidModel
from service.model.runtime import Array, Graph
from training.errors import CannotExport, TrainingError
from training.exporting.dropout_arithmetic import UNIFORM, find_block
from training.exporting.graphs import NEWEST_IR, bypass, producers, prune, real_inputs
from training.exporting.inject import Draw
from training.exporting.reference import count_passes, masks_of_pass
from training.exporting.sites import drop_idle
from training.exporting.tolerances import advice
from training.importing.reading import first_line

PREFIX = "original/"
"""The prefix of added names."""
MARGIN = 1e-4
"""The distance of uniform draws from the threshold, as a share of their side, at least the resolution of their type."""


@dataclass(frozen=True)
class _Source:
    """A node that draws a mask for the tensor `place`, and the probability to keep."""

    node: NodeProto
    place: str
    keep: float
    dtype: np.dtype[np.generic]

    @property
    def uniform(self) -> bool:
        """Whether it draws numbers from 0 to 1, of which the small ones keep; a Dropout multiplies."""
        return self.node.op_type in UNIFORM

    def feed(self, kept: Array, shape: Sequence[int]) -> Array:
        values = np.where(kept, *self._beside()) if self.uniform else kept / self.keep
        return values.reshape(shape).astype(self.dtype)

    def _beside(self) -> tuple[float, float]:
        """Return numbers just below and just above the threshold, so that another threshold than `keep` shows."""
        margin = max(MARGIN, 4 * float(np.finfo(self.dtype).eps))  # type: ignore[type-var]
        return self.keep * (1 - margin), self.keep + (1 - self.keep) * margin


class Original:
    """The network of a flat graph in evaluation mode, as a Reference."""

    def __init__(self, model: ModelProto, ratios: Sequence[float], rows: int | None) -> None:
        """Prepare the runs.

        `ratios` are those of the Dropout nodes with p > 0, `rows` the number that the file is fixed at.
        """
        self.rows = rows
        self.names = [value.name for value in real_inputs(model.graph)]
        model = _copy(model)
        drop_idle(model.graph)
        self.sources = _find_sources(model, ratios)
        self._deterministic = _load(_without_noise(model, self.sources))
        self._thin = cache(lambda on: _load(_with_noise_fed(model, self.sources, on)))
        self._thin(tuple(True for _ in self.sources))  # a file that cannot be run is refused at once
        self._shapes = _load(_with_shapes_out(model, self.sources))

    def draws(self, inputs: Sequence[Tensor]) -> tuple[Draw, ...]:
        """Return the random draws of one forward pass, in order of execution."""
        feed, _ = next(self._batches(inputs))
        numbers = iter(_run(self._shapes, feed).tolist())  # for each source the number of its dimensions, then these
        shapes = [tuple(next(numbers) for _ in range(next(numbers))) for _ in self.sources]
        return tuple(
            Draw(source.node.op_type, source.keep, shape) for source, shape in zip(self.sources, shapes, strict=True)
        )

    def predict(self, inputs: Sequence[Tensor]) -> Array:
        """Return the answers without dropout: (rows, outputs)."""
        return np.concatenate([_run(self._deterministic, feed)[:rows] for feed, rows in self._batches(inputs)])

    def sample(self, inputs: Sequence[Tensor], masks: Sequence[Array | None], rows_axes: Sequence[int]) -> Array:
        """Return the answers with masks (passes, 1, *shape), one a draw: (passes, rows, outputs)."""
        draws, size = self.draws(inputs), self.rows or len(inputs[0])
        thinned = self._thin(tuple(mask is not None for mask in masks))
        passes = []
        for number in range(count_passes(masks)):
            noise = masks_of_pass(number, masks, rows_axes, draws, size)
            places = zip(self.sources, noise, draws, strict=True)
            fed = {
                _input_name(source): source.feed(kept, draw.shape) for source, kept, draw in places if kept is not None
            }
            answers = [_run(thinned, feed | fed)[:rows] for feed, rows in self._batches(inputs)]
            passes.append(np.concatenate(answers))
        return np.stack(passes)

    def _batches(self, inputs: Sequence[Tensor]) -> Iterator[tuple[dict[str, Array], int]]:
        return in_batches(self.names, inputs, self.rows)


def _find_sources(model: ModelProto, ratios: Sequence[float]) -> list[_Source]:
    kinds, left, found = _kinds(model), list(ratios), []
    if (count := sum(node.op_type == "Dropout" for node in model.graph.node)) != len(ratios):
        raise TrainingError(f"the file has {len(ratios)} active Dropout nodes; {count} were found")
    for node in model.graph.node:
        if node.op_type == "Dropout":
            found.append(_Source(node, node.input[0], 1 - left.pop(0), kinds[node.input[0]]))
        elif node.op_type in UNIFORM:
            found.append(_Source(node, node.output[0], find_block(model.graph, node).keep, kinds[node.output[0]]))
    return found


def _kinds(model: ModelProto) -> dict[str, np.dtype[np.generic]]:
    """Return the element types of the tensors."""
    graph = infer_shapes(model).graph
    values = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.value_info, *graph.output)}
    values |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    return {name: np.dtype(tensor_dtype_to_np_dtype(kind)) for name, kind in values.items() if kind}


def _without_noise(model: ModelProto, sources: Sequence[_Source]) -> ModelProto:
    made = _copy(model)
    for source in sources:
        _turn_off(made.graph, source)
    prune(made.graph)
    return made


def _turn_off(graph: GraphProto, source: _Source) -> None:
    if source.uniform:
        block = find_block(graph, source.node)
        bypass(graph, {block.output: block.source})
    else:
        node = producers(graph)[source.node.output[0]]
        node.CopyFrom(helper.make_node("Identity", node.input[:1], node.output[:1]))


def _with_noise_fed(model: ModelProto, sources: Sequence[_Source], on: Sequence[bool]) -> ModelProto:
    """Return the graph with an input for each source that is on: a factor for a Dropout, the numbers of a uniform
    draw. The others are turned off.
    """
    made = _without_noise(model, [source for source, keeps in zip(sources, on, strict=True) if not keeps])
    for source in (source for source, keeps in zip(sources, on, strict=True) if keeps):
        node, name = producers(made.graph)[source.node.output[0]], _input_name(source)
        new = ("Identity", [name]) if source.uniform else ("Mul", [node.input[0], name])
        node.CopyFrom(helper.make_node(*new, node.output[:1]))
        kind = helper.np_dtype_to_tensor_dtype(source.dtype)
        made.graph.input.append(helper.make_tensor_value_info(name, kind, None))
    return made


def _with_shapes_out(model: ModelProto, sources: Sequence[_Source]) -> ModelProto:
    """Return the graph whose output is, for each source, the number of dimensions of its place, and these."""
    made = _copy(model)
    one, parts = f"{PREFIX}one", []
    made.graph.initializer.append(numpy_helper.from_array(np.array([1], dtype=np.int64), one))
    for i, source in enumerate(sources):
        shape, size, number = (f"{PREFIX}{what}_{i}" for what in ("shape", "size", "number"))
        made.graph.node.extend(
            [
                helper.make_node("Shape", [source.place], [shape]),
                helper.make_node("Size", [shape], [size]),
                helper.make_node("Reshape", [size, one], [number]),
            ]
        )
        parts += [number, shape]
    made.graph.node.append(helper.make_node("Concat", parts, [f"{PREFIX}shapes"], axis=0))
    del made.graph.output[:]
    made.graph.output.append(helper.make_tensor_value_info(f"{PREFIX}shapes", TensorProto.INT64, [None]))
    prune(made.graph)
    return made


def _input_name(source: _Source) -> str:
    return f"{PREFIX}{source.node.output[0]}"


def _copy(model: ModelProto) -> ModelProto:
    made = ModelProto()
    made.CopyFrom(model)
    made.ir_version = min(made.ir_version, NEWEST_IR)
    return made


def _load(model: ModelProto) -> Graph:
    try:
        return Graph(model.SerializeToString(), name="the file", optimise=False)
    except InvalidModel as error:
        raise CannotExport(f"{error.message}{advice(model)}") from None


def _run(graph: Graph, feed: dict[str, Array]) -> Array:
    try:
        return graph.run(feed)
    except DropserveError as error:
        raise TrainingError(f"the file's own network: {error.message}") from None
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no other base
        raise TrainingError(f"the file's own network cannot be run: {first_line(error)}") from None


def in_batches(
    names: Sequence[str], inputs: Sequence[Tensor], size: int | None
) -> Iterator[tuple[dict[str, Array], int]]:
    """Yield batches by input name, filled up with the first rows, and the number that count; one if the size is
    free.
    """
    rows = len(inputs[0])
    size = size or rows
    for start in range(0, rows, size):
        index = np.arange(start, start + size) % rows
        feed = {name: tensor.numpy()[index] for name, tensor in zip(names, inputs, strict=True)}
        yield feed, min(size, rows - start)
