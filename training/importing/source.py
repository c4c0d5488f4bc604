"""An ONNX file → a flat graph in evaluation mode, and what there is to say of where it came from."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import ModelProto

from service.model.manifest import sha256
from training.exporting.graphs import NEWEST_OPSET, flattened, real_inputs, shape_of
from training.importing.evaluation import to_evaluation
from training.importing.lost import lost_attention
from training.importing.output import check_output
from training.importing.reading import fitting, making_sense, opset_of, read_onnx


@dataclass(frozen=True)
class Source:
    """`origin` is for the manifest; `notes` tell what was changed, for the user."""

    untouched: ModelProto
    """As it was read."""
    model: ModelProto
    origin: dict[str, Any]
    notes: tuple[str, ...]

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(value.name for value in real_inputs(self.model.graph))

    @property
    def row_shapes(self) -> tuple[tuple[int | None, ...], ...]:
        """Of each input's rows; None for an axis without a fixed size."""
        return tuple((shape_of(value) or ())[1:] for value in real_inputs(self.model.graph))


def open_source(file: Path) -> Source:
    """Raises CannotExport naming the file, or the node, for what cannot be read or served."""
    model = read_onnx(file)
    opset = opset_of(model)
    origin: dict[str, Any] = {
        "imported": file.name,
        "imported_sha256": sha256(file.read_bytes()),
        "producer": f"{model.producer_name or 'not named'} {model.producer_version}".strip(),
        "opset": opset,
    }
    with making_sense():
        flat = flattened(fitting(model))
        notes = [*_about_opset(opset, opset_of(flat)), *to_evaluation(flat)]
        check_output(flat)
        return Source(model, flat, origin, (*notes, *lost_attention(flat)))


def _about_opset(found: int, made: int) -> Iterator[str]:
    if made != found:
        yield f"opset {found}: converted to {made}"
    if made > NEWEST_OPSET:
        yield (
            f"warning: opset {made} cannot be converted to {NEWEST_OPSET}, the newest that onnxruntime 1.20 loads, the"
            " oldest that the service supports; older services than this one's may not load the model"
        )
