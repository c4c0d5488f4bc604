"""The inputs and output of a graph: their first axis becomes that of the rows, the other axes are fixed."""

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from service.model.manifest import TensorSpec
from service.model.runtime import Array
from training.errors import CannotExport
from training.exporting.export import DTYPES
from training.exporting.graphs import ROWS, constants, real_inputs, shape_of
from training.exporting.layout import infer_shapes


def fix_axes(model: ModelProto, rows: Sequence[Array]) -> None:
    """Give the axes that the file leaves open, except the first, the sizes of these rows; in place.

    `rows` are one array (rows, …) for each input, or none at all. Raises CannotExport where they do not fit.
    """
    inputs = real_inputs(model.graph)
    if not rows:
        return
    if len(rows) != len(inputs):
        raise CannotExport(f"rows: expected {len(inputs)} arrays, one for each input of the file; found {len(rows)}")
    for value, array in zip(inputs, rows, strict=True):
        _fix(value, array.shape)
    del model.graph.value_info[:]


def _fix(value: ValueInfoProto, sizes: Sequence[int]) -> None:
    declared = shape_of(value) or (None,) * len(sizes)
    pairs = [(size, found) for size, found in zip(declared[1:], sizes[1:], strict=False) if size is not None]
    if len(declared) != len(sizes) or any(size != found for size, found in pairs):
        raise CannotExport(
            f"input {value.name!r}: takes rows of {_shape(declared[1:])}; the rows given are of {_shape(sizes[1:])}"
        )
    shape = [declared[0], *sizes[1:]]
    value.CopyFrom(helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, shape))


def _shape(sizes: Sequence[int | None]) -> str:
    return "×".join("any" if size is None else str(size) for size in sizes) or "one number"


def input_specs(model: ModelProto) -> tuple[TensorSpec, ...]:
    """Return the specification of each input; raise CannotExport for types that are not served and for open axes."""
    return tuple(_spec(value) for value in real_inputs(model.graph))


def _spec(value: ValueInfoProto) -> TensorSpec:
    kind = _kind(value)
    if kind not in DTYPES.values():
        raise CannotExport(
            f"input {value.name!r}: {kind} is not served; it must be one of {', '.join(DTYPES.values())}"
        )
    shape = shape_of(value)
    if not shape:
        raise CannotExport(f"input {value.name!r}: must have an axis of rows; the file declares none")
    if None in shape[1:]:
        axis = shape.index(None, 1)
        raise CannotExport(
            f"input {value.name!r}: its axis {axis} has no fixed size in the file; give --rows, which set it"
        )
    return TensorSpec.model_validate({"name": value.name, "dtype": kind, "shape": shape[1:]})


def _kind(value: ValueInfoProto) -> str:
    if not value.type.HasField("tensor_type"):
        return f"a {value.type.WhichOneof('value').removesuffix('_type')}"
    kind = value.type.tensor_type.elem_type
    return "string" if kind == TensorProto.STRING else np.dtype(helper.tensor_dtype_to_np_dtype(kind)).name


def free_rows(model: ModelProto) -> int | None:
    """Free the first axis of every input, in place; return the size that it was fixed at, None where it was free.

    Whether the graph then treats each row as before must be verified. Raises CannotExport where the inputs disagree.
    """
    sizes = {value.name: (shape_of(value) or (None,))[0] for value in real_inputs(model.graph)}
    if set(sizes.values()) == {None}:
        return None
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name!r} {'open' if size is None else size}" for name, size in sizes.items())
        raise CannotExport(f"the first axis of every input must be that of the rows; their sizes differ: {found}")
    fixed = next(iter(sizes.values()))
    assert fixed is not None
    _free_reshapes(model, fixed)
    for value in [*real_inputs(model.graph), *model.graph.output]:
        for dim in value.type.tensor_type.shape.dim[:1]:
            dim.dim_param = ROWS
    del model.graph.value_info[:]
    return fixed


def _free_reshapes(model: ModelProto, fixed: int) -> None:
    """Let a Reshape copy the first axis where it states its size: exporters write it as a constant."""
    shapes, known = infer_shapes(model, fixed), constants(model.graph)
    for node in model.graph.node:
        if node.op_type != "Reshape" or node.input[1] not in known or node.input[0] not in shapes:
            continue
        target, source = numpy_helper.to_array(known[node.input[1]]), shapes[node.input[0]][1]
        if target.size and source and target[0] == source[0] == fixed and not _takes_zero_literally(node):
            freed = np.concatenate([[0], target[1:]]).astype(np.int64)
            name = f"{node.output[0]}/rows_free"
            model.graph.initializer.append(numpy_helper.from_array(freed, name))
            node.input[1] = name


def _takes_zero_literally(node: NodeProto) -> bool:
    return any(attribute.name == "allowzero" and attribute.i for attribute in node.attribute)


def check_output(model: ModelProto) -> None:
    """Raise CannotExport unless the graph has one output (rows, outputs) of float32."""
    outputs = model.graph.output
    if len(outputs) != 1:
        names = ", ".join(repr(output.name) for output in outputs)
        found = f"{len(outputs)}: {names}" if names else "none"
        raise CannotExport(f"the network must have one output; the file has {found}")
    kind, shape = outputs[0].type.tensor_type.elem_type, shape_of(outputs[0])
    if kind != TensorProto.FLOAT:
        found = TensorProto.DataType.Name(kind).lower()
        raise CannotExport(f"output {outputs[0].name!r}: must be float32, which is served; it is {found}")
    if shape is not None and len(shape) != 2:
        raise CannotExport(
            f"output {outputs[0].name!r}: must be of shape (rows, outputs); it has {len(shape)} dimensions"
        )
