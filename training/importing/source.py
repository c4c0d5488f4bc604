"""Open an ONNX file as a flat graph in evaluation mode, with notes on its origin and changes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import ModelProto

from service.model.manifest import sha256
from training.exporting.graphs import NEWEST_OPSET, flattened, real_inputs, shape_of
from training.importing.axes import check_output
from training.importing.evaluation import to_evaluation
from training.importing.lost import lost_attention
from training.importing.reading import fitting, making_sense, opset_of, read_onnx


@dataclass(frozen=True)
class Source:
    """A file's network; `origin` is for the manifest, `notes` on changes are for the user."""

    untouched: ModelProto
    """The model as it was read."""
    model: ModelProto
    """The flat graph in evaluation mode."""
    origin: dict[str, Any]
    notes: tuple[str, ...]

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return tuple(value.name for value in real_inputs(self.model.graph))

    @property
    def row_shapes(self) -> tuple[tuple[int | None, ...], ...]:
        """The shape of a row of each input; None for an axis without a fixed size."""
        return tuple((shape_of(value) or ())[1:] for value in real_inputs(self.model.graph))


def open_source(file: Path) -> Source:
    """Open a file; raise CannotExport naming the file, or the node, if it cannot be read or served."""
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
