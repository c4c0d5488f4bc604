"""Read an ONNX file with all its weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnx.defs
from google.protobuf.message import DecodeError
from onnx import ModelProto, checker
from onnx.external_data_helper import load_external_data_for_model
from onnx.inliner import inline_local_functions
from onnx.version_converter import ConvertError, convert_version

from service.errors import DropserveError
from training.errors import CannotExport
from training.exporting.graphs import NEWEST_OPSET, OLDEST_OPSET, describe

STANDARD = {"", "ai.onnx"}
"""Domains of ONNX's own operators."""
MODERN_OPSET = 13
"""The opset that older files are converted to."""


def read_onnx(file: Path) -> ModelProto:
    """Return the model, with weights from other files of its folder, and with functions inlined.

    Raises CannotExport naming the file if it is not ONNX, is damaged, incomplete, or uses operators that are not ONNX's
    own.
    """
    model = _parse(file)
    _load_weights(model, file)
    if model.functions:
        model = inline_local_functions(model)
    _refuse_foreign(model, file)
    try:
        checker.check_model(model)
    except (checker.ValidationError, ValueError) as error:
        raise CannotExport(f"{file}: is not valid ONNX: {first_line(error)}") from None
    return model


def fitting(model: ModelProto) -> ModelProto:
    """Return the model, converted where its opset is too old, or newer than the oldest supported onnxruntime loads.

    Raises CannotExport where an old opset cannot be converted; a new one is then left.
    """
    version = opset_of(model)
    if OLDEST_OPSET <= version <= NEWEST_OPSET:
        return model
    if version > (newest := onnx.defs.onnx_opset_version()):
        raise CannotExport(f"the file is of opset {version}; the newest that is known here is {newest}")
    try:
        if version > NEWEST_OPSET:
            return _checked(convert_version(model, NEWEST_OPSET))
        return convert_version(_in_test_mode(model), MODERN_OPSET)
    except (ConvertError, RuntimeError, checker.ValidationError) as error:
        if version > NEWEST_OPSET:
            return model
        raise CannotExport(
            f"the file is of opset {version}, and {OLDEST_OPSET} or newer is needed; it cannot be converted:"
            f" {first_line(error)}"
        ) from None


def _checked(model: ModelProto) -> ModelProto:
    """Return the model if it is valid: the converter keeps operators that the older opset lacks."""
    checker.check_model(model)
    return model


def _in_test_mode(model: ModelProto) -> ModelProto:
    """Return a copy that the converter accepts: it has no training mode of old operators. Dropout is not affected."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        for attribute in node.attribute:
            if attribute.name == "is_test":
                attribute.i = 1
    return copy


def opset_of(model: ModelProto) -> int:
    """Return the version of ONNX's operators; raise CannotExport without one."""
    versions = [int(entry.version) for entry in model.opset_import if entry.domain in STANDARD]
    if not versions:
        raise CannotExport("the file names no version of ONNX's operators (opset); it may be damaged")
    return versions[0]


@contextmanager
def making_sense() -> Iterator[None]:
    """Raise CannotExport for errors of ONNX's tools on a graph that contradicts itself."""
    try:
        yield
    except DropserveError:
        raise
    except Exception as error:  # they raise many unrelated types
        raise CannotExport(f"the file contradicts itself: {type(error).__name__}: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error, joined with the next while it ends in a colon."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    end = next((number for number, line in enumerate(lines, start=1) if not line.endswith(":")), len(lines))
    return " ".join(lines[:end]) or type(error).__name__


def _parse(file: Path) -> ModelProto:
    try:
        model = onnx.load_model_from_string(file.read_bytes())
    except OSError as error:
        raise CannotExport(f"{file}: cannot be read: {error.strerror}") from None
    except DecodeError:
        raise CannotExport(f"{file}: is not an ONNX file, or only a part of one") from None
    if not model.graph.node:
        raise CannotExport(f"{file}: is not an ONNX file, or one without a graph")
    return model


def _load_weights(model: ModelProto, file: Path) -> None:
    try:
        load_external_data_for_model(model, str(file.parent))
    except (OSError, ValueError, checker.ValidationError) as error:
        raise CannotExport(
            f"{file}: keeps weights in another file, which cannot be read: {first_line(error)}"
        ) from None


def _refuse_foreign(model: ModelProto, file: Path) -> None:
    for node in model.graph.node:
        if node.domain not in STANDARD:
            raise CannotExport(
                f"{file}: {describe(node)}: is an operator of {node.domain!r}; only those of ONNX itself can be served"
            )
