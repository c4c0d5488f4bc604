"""Read a file of rows, in any format, as arrays by input name for a model."""

import sys
from codecs import BOM_UTF8
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.api.decoding import decode_request
from service.api.requests import PredictRequest, UncertaintyRequest
from service.errors import InvalidInput, InvalidRequest, MalformedBody
from service.model.manifest import Manifest
from service.model.runtime import Array
from service.rows.arrays import fit_arrays, read_npy, read_npz
from service.rows.column import Table
from service.rows.csv_table import PLAIN
from service.rows.dialect import Dialect
from service.rows.fitting import fit_table, is_header
from service.rows.formats import TABLES, Format, open_table
from service.rows.inputs import check_inputs, shorten
from service.rows.json_lines import numbered_lines
from service.rows.json_rows import decode_inputs

AnyRequest = TypeVar("AnyRequest", PredictRequest, UncertaintyRequest)


def read_rows(
    content: bytes | Path,
    kind: Format,
    manifest: Manifest,
    dialect: Dialect = PLAIN,
    rows: NDArray[np.int64] | None = None,
) -> dict[str, Array]:
    """Return an array (rows, …) for each input of the model, of all rows of a file or those given.

    Raises InvalidRequest.
    """
    if table := as_table(content, kind, manifest, dialect):
        arrays = fit_table(table, manifest, rows)
    else:
        arrays = _read_tensors(content, kind, manifest)
        arrays = arrays if rows is None else {name: array[rows] for name, array in arrays.items()}
    return check_inputs(arrays, manifest, max_rows=sys.maxsize)


def as_table(content: bytes | Path, kind: Format, manifest: Manifest, dialect: Dialect = PLAIN) -> Table | None:
    """Return a file as a table, or None for one with arrays of the model's inputs. Raises InvalidRequest."""
    if isinstance(content, bytes) and (
        kind not in TABLES or (kind == "jsonl" and not _is_by_feature(content, manifest))
    ):
        return None
    has_header = partial(is_header, features=manifest.features, categories=manifest.categorical)
    return open_table(content, kind, dialect, features=manifest.features, has_header=has_header)


def read_request(content: bytes | Path, kind: Format, request: type[AnyRequest]) -> AnyRequest:
    """Return the options in a JSON file beside its rows; other files have none. Raises InvalidRequest."""
    if isinstance(content, Path) or kind != "json" or not _is_request(content):
        return request(inputs=msgspec.Raw())
    try:
        return decode_request(content, request)
    except InvalidInput as error:
        if request is PredictRequest and error.details["field"] in UncertaintyRequest.__struct_fields__:
            raise InvalidInput(f"{error.message}; more with --uncertainty", **error.details) from None
        raise


def _read_tensors(content: bytes | Path, kind: Format, manifest: Manifest) -> dict[str, Array]:
    assert isinstance(content, bytes)
    match kind:
        case "json":
            return _read_json(content, manifest)
        case "jsonl":
            return _read_json_lines(content, manifest)
    return _read_arrays(content, kind, manifest)


def _is_request(content: bytes) -> bool:
    return content.removeprefix(BOM_UTF8).lstrip()[:1] == b"{"


def _read_json(content: bytes, manifest: Manifest) -> dict[str, Array]:
    """Read the body of a request, or a bare list of rows."""
    request = decode_request(content, UncertaintyRequest) if _is_request(content) else None
    inputs = request.inputs if request else decode_request(content, msgspec.Raw)
    return decode_inputs(inputs, manifest, sys.maxsize)


def _is_by_feature(content: bytes, manifest: Manifest) -> bool:
    """Return whether JSON Lines are rows of a table, rather than objects of inputs by name or nested lists."""
    if len(manifest.inputs) > 1 or len(manifest.inputs[0].shape) != 1 or not manifest.features:
        return False
    _, first = next(numbered_lines(content), (0, b"[]"))
    try:
        return manifest.inputs[0].name not in msgspec.json.decode(first, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # a list, or invalid for the table's reader
        return True


def _read_json_lines(content: bytes, manifest: Manifest) -> dict[str, Array]:
    """Read one row per line: the values of the only input, or an object of inputs by name."""
    rows = [_read_json_line(number, line, manifest) for number, line in numbered_lines(content)]
    inputs = {
        spec.name: msgspec.Raw(b"[" + b",".join(row[spec.name] for row in rows) + b"]") for spec in manifest.inputs
    }
    return decode_inputs(msgspec.Raw(msgspec.json.encode(inputs)), manifest, sys.maxsize)


def _read_json_line(number: int, line: bytes, manifest: Manifest) -> dict[str, msgspec.Raw]:
    """Return the JSON of a row's inputs, by name."""
    names = [spec.name for spec in manifest.inputs]
    try:
        value = decode_request(line, msgspec.Raw)
        if bytes(value)[:1] != b"{" and len(names) == 1:
            return {names[0]: value}
        given = decode_request(line, dict[str, msgspec.Raw])
    except InvalidRequest as error:
        raise MalformedBody(f"line {number}: {error.message}") from None
    if missing := [name for name in names if name not in given]:
        message = f"line {number}: {missing[0]} is missing; expected {shorten(names)}"
        raise InvalidInput(message, field=missing[0], missing=missing)
    return given


def _read_arrays(content: bytes, kind: Format, manifest: Manifest) -> dict[str, Array]:
    try:
        arrays = {"": read_npy(content)} if kind == "npy" else read_npz(content)
    except ValueError as error:
        raise MalformedBody(f"the file is {error}") from None
    if kind == "npy" and len(manifest.inputs) > 1:
        raise InvalidInput(f"the model has {len(manifest.inputs)} inputs: send NPZ or JSON, not NPY", field="inputs")
    return fit_arrays(arrays, manifest)
