"""Rows in a file (JSON, CSV, NPZ or NPY) → arrays by input name, for scoring from the shell."""

import csv
import io
import math
import re
import sys
from collections.abc import Callable

import msgspec
import numpy as np

from service.api.decoding import decode_inputs, decode_request
from service.api.requests import UncertaintyRequest
from service.arrays import read_npy, read_npz
from service.errors import InvalidInput, MalformedBody
from service.inputs import FIELD, check_inputs
from service.manifest import Manifest, TensorSpec
from service.runtime import Array

Line = tuple[int, list[str]]
"""Its number, as an editor counts, and its cells."""

NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
"""As people write them; Python would take 1_000 and infinity too."""


def read_rows(content: bytes, kind: str, manifest: Manifest) -> dict[str, Array]:
    """The content of a file → what the model takes; `kind` is json, csv, npz or npy. Raises InvalidRequest."""
    return check_inputs(READERS[kind](content, manifest), manifest, max_rows=sys.maxsize)


def guess_kind(name: str, content: bytes) -> str:
    """The kind of a file from its name, or from its content where the name does not tell (stdin)."""
    suffix = name.rpartition(".")[2].lower()
    if suffix in READERS:
        return suffix
    if content.startswith(b"PK\x03\x04"):
        return "npz"
    if content.startswith(b"\x93NUMPY"):
        return "npy"
    return "json" if content.lstrip()[:1] in (b"[", b"{") else "csv"


def read_request(content: bytes, kind: str) -> UncertaintyRequest | None:
    """The request that a JSON file holds; None for bare rows. Raises InvalidRequest."""
    if kind != "json" or content.lstrip()[:1] != b"{":
        return None
    return decode_request(content, UncertaintyRequest)


def _read_json(content: bytes, manifest: Manifest) -> dict[str, Array]:
    """The body of a request, or the bare list of rows."""
    request = read_request(content, "json")
    inputs = request.inputs if request else decode_request(content, msgspec.Raw)
    return decode_inputs(inputs, manifest, sys.maxsize)


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
    """A line a row, with or without a header; a header's columns may come in any order, among others."""
    spec = _only_input(manifest, "CSV")
    width = math.prod(spec.shape)
    lines = _read_lines(content)
    columns, named = list(range(width)), bool(lines) and _is_header(lines[0][1])
    if named:
        columns = _find_columns(lines.pop(0), manifest, width)
    rows = [_read_numbers(line, columns, named, spec) for line in lines]
    return {spec.name: np.array(rows, dtype=np.float64).reshape(len(rows), *spec.shape)}


def _read_lines(content: bytes) -> list[Line]:
    """All lines that are not blank."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedBody(f"the file is not CSV in UTF-8: {error}") from None
    reader = csv.reader(io.StringIO(text, newline=""))
    lines: list[Line] = []
    try:
        start = 1
        for cells in reader:
            if cells:
                lines.append((start, cells))
            start = reader.line_num + 1
    except csv.Error as error:
        raise MalformedBody(f"the file is not CSV: line {reader.line_num}: {error}") from None
    return lines


def _is_header(cells: list[str]) -> bool:
    """Whether a line names columns: it has something in it, and nothing that is a number."""
    return any(cell.strip() for cell in cells) and not any(NUMBER.fullmatch(cell) for cell in cells)


def _find_columns(header: Line, manifest: Manifest, width: int) -> list[int]:
    """Where each feature stands in the header; as they come for a model without names of features."""
    line, cells = header
    names = [name.strip() for name in cells]
    if not manifest.features:
        return list(range(width))
    if missing := [name for name in manifest.features if name not in names]:
        expected = ", ".join(manifest.features[:8]) + ("…" if len(manifest.features) > 8 else "")
        message = f"line {line}: the header lacks {missing[0]}; expected {expected}"
        raise InvalidInput(message, field=missing[0], missing=missing)
    return [names.index(name) for name in manifest.features]


def _read_numbers(line: Line, columns: list[int], named: bool, spec: TensorSpec) -> list[float]:
    number, cells = line
    if len(cells) <= max(columns) or not (named or len(cells) == len(columns)):
        message = f"line {number}: expected {max(columns) + 1} values, found {len(cells)}"
        raise InvalidInput(message, field=f"line {number}", expected=max(columns) + 1, found=len(cells))
    return [_read_number(cells[column], f"line {number}, column {column + 1}", spec) for column in columns]


def _read_number(cell: str, field: str, spec: TensorSpec) -> float:
    value = float(cell) if NUMBER.fullmatch(cell) else math.nan
    with np.errstate(over="ignore"):
        if not np.isfinite(np.float64(value).astype(spec.dtype if spec.dtype.startswith("float") else np.float64)):
            raise InvalidInput(f"{field}: expected a number that fits {spec.dtype}, found {cell!r}", field=field)
    return value


def _only_input(manifest: Manifest, kind: str) -> TensorSpec:
    if len(manifest.inputs) > 1:
        raise InvalidInput(f"the model has {len(manifest.inputs)} inputs: send JSON or NPZ, not {kind}", field=FIELD)
    return manifest.inputs[0]


READERS: dict[str, Callable[[bytes, Manifest], dict[str, Array]]] = {
    "json": _read_json,
    "csv": _read_csv,
    "npz": _read_npz,
    "npy": _read_npy,
}
