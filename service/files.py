"""Rows in a file (JSON, CSV, NPZ or NPY) → arrays by input name, for scoring from the shell."""

import csv
import io
import sys
import zipfile
from collections.abc import Callable

import numpy as np

from service.decoding import decode_inputs, decode_request
from service.errors import InvalidInput, MalformedBody
from service.inputs import FIELD, check_inputs
from service.manifest import Manifest, TensorSpec
from service.requests import PredictRequest
from service.runtime import Array


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


def _read_json(content: bytes, manifest: Manifest) -> dict[str, Array]:
    """The body of a request, or the bare list of rows."""
    body = content if content.lstrip()[:1] == b"{" else b'{"inputs":' + content + b"}"
    return decode_inputs(decode_request(body, PredictRequest).inputs, manifest, sys.maxsize)


def _read_npz(content: bytes, manifest: Manifest) -> dict[str, Array]:
    """One array an input, by name; a single array needs no name."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise MalformedBody(f"the file is not NPZ: {error}") from None
    if len(arrays) == 1 and len(manifest.inputs) == 1:
        arrays = {manifest.inputs[0].name: next(iter(arrays.values()))}
    return arrays


def _read_npy(content: bytes, manifest: Manifest) -> dict[str, Array]:
    """The array of the model's only input."""
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise MalformedBody(f"the file is not NPY: {error}") from None
    return {_only_input(manifest, "NPY").name: array}


def _read_csv(content: bytes, manifest: Manifest) -> dict[str, Array]:
    """A line a row, with or without a header; a header's columns may come in any order, among others."""
    spec = _only_input(manifest, "CSV")
    try:
        lines = [line for line in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise MalformedBody(f"the file is not CSV: {error}") from None
    width = int(np.prod(spec.shape, dtype=np.int64))
    columns = list(range(width))
    header = bool(lines) and not all(_is_number(cell) for cell in lines[0])
    if header:
        columns = _columns(lines[0], manifest, width)
    rows = lines[1:] if header else lines
    first = 2 if header else 1
    values = [_numbers(row, columns, header, line) for line, row in enumerate(rows, first)]
    return {spec.name: np.array(values, dtype=np.float64).reshape(len(values), *spec.shape)}


def _columns(header: list[str], manifest: Manifest, width: int) -> list[int]:
    """Where each feature stands in the header."""
    names = [name.strip() for name in header]
    if not manifest.features:
        return list(range(width))
    if missing := [name for name in manifest.features if name not in names]:
        raise InvalidInput(
            f"line 1: the header lacks {missing[0]}; expected {', '.join(manifest.features[:8])}"
            + ("…" if len(manifest.features) > 8 else ""),
            field=missing[0],
            missing=missing,
        )
    return [names.index(name) for name in manifest.features]


def _numbers(row: list[str], columns: list[int], named: bool, line: int) -> list[float]:
    if len(row) != len(columns) and not named:
        raise InvalidInput(
            f"line {line}: expected {len(columns)} values, found {len(row)}", field=f"line {line}", found=len(row)
        )
    if len(row) <= max(columns):
        raise InvalidInput(f"line {line}: is too short: {len(row)} values", field=f"line {line}", found=len(row))
    for column in columns:
        if not _is_number(row[column]):
            raise InvalidInput(
                f"line {line}, column {column + 1}: expected a number, found {row[column]!r}",
                field=f"line {line}, column {column + 1}",
            )
    return [float(row[column]) for column in columns]


def _only_input(manifest: Manifest, kind: str) -> TensorSpec:
    if len(manifest.inputs) > 1:
        raise InvalidInput(f"the model has {len(manifest.inputs)} inputs: send JSON or NPZ, not {kind}", field=FIELD)
    return manifest.inputs[0]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


READERS: dict[str, Callable[[bytes, Manifest], dict[str, Array]]] = {
    "json": _read_json,
    "csv": _read_csv,
    "npz": _read_npz,
    "npy": _read_npy,
}
