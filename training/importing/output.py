"""What a file's output must be."""

from onnx import ModelProto, TensorProto

from training.errors import CannotExport
from training.exporting.graphs import shape_of


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
