"""Rows in a file (JSON, JSON Lines, CSV, NPZ or NPY) → arrays by input name, for scoring from the shell."""

import re
import sys
from codecs import BOM_UTF8
from collections.abc import Callable
from typing import TypeVar

import msgspec

from service.api.decoding import decode_request
from service.api.requests import PredictRequest, UncertaintyRequest
from service.api.rows import decode_inputs
from service.arrays import read_npy, read_npz
from service.csv_rows import read_csv, shorten
from service.errors import InvalidInput, InvalidRequest, MalformedBody
from service.inputs import FIELD, check_inputs
from service.manifest import Manifest, TensorSpec
from service.runtime import Array

LINES = re.compile(rb"\s*[\[{][^\n]*[\]}]\s*\n\s*[\[{]")
"""JSON that ends in its first line, with more in the next."""

Question = TypeVar("Question", PredictRequest, UncertaintyRequest)


def read_rows(content: bytes, kind: str, manifest: Manifest) -> dict[str, Array]:
    """The content of a file → what the model takes; `kind` is one of READERS. Raises InvalidRequest."""
    return check_inputs(READERS[kind](content, manifest), manifest, max_rows=sys.maxsize)


def guess_kind(name: str, content: bytes) -> str:
    """The kind of a file from its name, or from its content where the name does not tell (stdin)."""
    suffix = name.rpartition(".")[2].lower()
    if suffix in READERS:
        return suffix
    if LINES.match(content):
        return "jsonl"
    if content.startswith(b"PK\x03\x04"):
        return "npz"
    if content.startswith(b"\x93NUMPY"):
        return "npy"
    return "json" if content.lstrip()[:1] in (b"[", b"{") else "csv"


def read_request(content: bytes, kind: str, question: type[Question]) -> Question:
    """What a JSON file asks for beside its rows; nothing where there are only rows. Raises InvalidRequest."""
    if kind != "json" or not _is_request(content):
        return question(inputs=msgspec.Raw())
    try:
        return decode_request(content, question)
    except InvalidInput as error:
        if question is PredictRequest and error.details["field"] in UncertaintyRequest.__struct_fields__:
            raise InvalidInput(f"{error.message}; more with --uncertainty", **error.details) from None
        raise


def _is_request(content: bytes) -> bool:
    return content.removeprefix(BOM_UTF8).lstrip()[:1] == b"{"


def _read_json(content: bytes, manifest: Manifest) -> dict[str, Array]:
    """The body of a request, or the bare list of rows."""
    request = decode_request(content, UncertaintyRequest) if _is_request(content) else None
    inputs = request.inputs if request else decode_request(content, msgspec.Raw)
    return decode_inputs(inputs, manifest, sys.maxsize)


def _read_json_lines(content: bytes, manifest: Manifest) -> dict[str, Array]:
    """A line a row: a list, or an object of the features or the inputs by name."""
    lines = [
        (number, line) for number, line in enumerate(content.removeprefix(BOM_UTF8).split(b"\n"), 1) if line.strip()
    ]
    rows = [_read_json_line(number, line, manifest) for number, line in lines]
    inputs = {
        spec.name: msgspec.Raw(b"[" + b",".join(row[spec.name] for row in rows) + b"]") for spec in manifest.inputs
    }
    return decode_inputs(msgspec.Raw(msgspec.json.encode(inputs)), manifest, sys.maxsize)


def _read_json_line(number: int, line: bytes, manifest: Manifest) -> dict[str, msgspec.Raw]:
    """The JSON of a row of each input."""
    try:
        value = decode_request(line, msgspec.Raw)
        if bytes(value)[:1] != b"{" and len(manifest.inputs) == 1:
            return {manifest.inputs[0].name: value}
        given = decode_request(line, dict[str, msgspec.Raw])
    except InvalidRequest as error:
        raise MalformedBody(f"line {number}: {error.message}") from None
    names = [spec.name for spec in manifest.inputs]
    by_feature = len(names) == 1 and names[0] not in given
    expected = list(manifest.features) if by_feature and manifest.features else names
    if missing := [name for name in expected if name not in given]:
        message = f"line {number}: {missing[0]} is missing; expected {shorten(expected)}"
        raise InvalidInput(message, field=missing[0], missing=missing)
    if expected == names:
        return given
    return {names[0]: msgspec.Raw(b"[" + b",".join(given[name] for name in expected) + b"]")}


def _read_npz(content: bytes, manifest: Manifest) -> dict[str, Array]:
    """One array an input, by name; a single array needs no name."""
    try:
        arrays = read_npz(content)
    except ValueError as error:
        raise MalformedBody(f"the file is {error}") from None
    if len(arrays) == 1 and len(manifest.inputs) == 1:
        arrays = {manifest.inputs[0].name: next(iter(arrays.values()))}
    return arrays


def _read_npy(content: bytes, manifest: Manifest) -> dict[str, Array]:
    """The array of the model's only input."""
    try:
        return {_only_input(manifest, "NPY").name: read_npy(content)}
    except ValueError as error:
        raise MalformedBody(f"the file is {error}") from None


def _read_csv(content: bytes, manifest: Manifest) -> dict[str, Array]:
    """A line a row of the model's only input."""
    spec = _only_input(manifest, "CSV")
    return {spec.name: read_csv(content, spec, manifest.features, manifest.categorical)}


def _only_input(manifest: Manifest, kind: str) -> TensorSpec:
    if len(manifest.inputs) > 1:
        raise InvalidInput(f"the model has {len(manifest.inputs)} inputs: send JSON or NPZ, not {kind}", field=FIELD)
    return manifest.inputs[0]


READERS: dict[str, Callable[[bytes, Manifest], dict[str, Array]]] = {
    "json": _read_json,
    "jsonl": _read_json_lines,
    "ndjson": _read_json_lines,
    "csv": _read_csv,
    "npz": _read_npz,
    "npy": _read_npy,
}
