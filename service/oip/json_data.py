"""Decode the values of a tensor in JSON: a list, flat in row-major order or nested like the shape."""

import math
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import msgspec
import numpy as np

from service.errors import InvalidInput
from service.model.manifest import TensorSpec
from service.oip.datatypes import BF16, DTYPES
from service.rows.json_chunks import CHUNK_BYTES, SPLIT, chunks, count
from service.rows.json_errors import in_words
from service.rows.unchecked import Tensor

FLOAT64, UINT8 = DTYPES["FP64"], DTYPES["UINT8"]
NESTED = re.compile(rb"\s*\[\s*\[")
VALUES: dict[str, Any] = {"f": float, "i": int, "u": int, "b": bool}
"""The JSON types of numpy's kinds of numbers."""


def from_list(values: list[float], datatype: str, shape: Sequence[int], field: str, spec: TensorSpec) -> Tensor:
    """Return floating-point numbers as a tensor of this shape, as `from_json` does. Raises InvalidInput."""
    if len(values) != math.prod(shape):
        raise _misfit(f"found {len(values)}", datatype, shape, field)
    return Tensor(np.array(values, FLOAT64), _given_type(datatype, spec.dtype), shape[0])


def from_json(data: msgspec.Raw, datatype: str, shape: Sequence[int], field: str, spec: TensorSpec) -> Tensor:
    """Return JSON as a tensor of this shape, with NaN for null if the model's input may have missing values.

    Floating-point numbers keep the precision of the model's input even if `datatype` has less; until they are checked
    they are float64, in which none is too large. Raises InvalidInput that names the field and what was expected.
    """
    if datatype == BF16:
        raise InvalidInput(f"{field}.data: JSON has no {BF16}; expected raw bytes, or FP32", field=f"{field}.data")
    dtype = _given_type(datatype, spec.dtype)
    decoded = FLOAT64 if dtype.kind == "f" else dtype
    nested = NESTED.match(data) is not None
    text = bytes(data)
    if len(text) > CHUNK_BYTES and (values := count(text, b",") + 1) > math.prod(shape):
        raise _misfit(f"found {values}", datatype, shape, field)
    value = float | None if spec.imputation and dtype.kind == "f" else VALUES[dtype.kind]
    decode = _decoder(len(shape) if nested else 1, value).decode
    try:
        if len(text) <= CHUNK_BYTES:
            array = np.array(decode(text), decoded)
        else:
            array = np.concatenate([np.array(decode(part), dtype=decoded) for part in _parts(text, nested)])
    except msgspec.DecodeError as error:
        raise _misfit(in_words(str(error).partition(" - at ")[0]), datatype, shape, field) from None
    except (ValueError, OverflowError, RecursionError):  # ragged, or not of this type
        raise _misfit("found lists of different lengths, or a number out of range", datatype, shape, field) from None
    if (array.shape != tuple(shape)) if nested else array.size != math.prod(shape):
        found = f"found {'×'.join(map(str, array.shape))}"
        raise _misfit(found, datatype, shape, field)
    if datatype == "BOOL":
        array, dtype = array.view(np.uint8), UINT8
    return Tensor(array.ravel(), dtype, shape[0])


@cache
def _given_type(datatype: str, of_model: str) -> np.dtype[Any]:
    """Return the type of numbers in JSON for an input of the model's type."""
    dtype = DTYPES[datatype]
    return np.promote_types(dtype, of_model) if dtype.kind == "f" and of_model.startswith("float") else dtype


def _parts(text: bytes, nested: bool) -> Iterator[bytes]:
    """Yield a long list in chunks, between which other threads can run."""
    if not text.startswith(b"["):
        yield text
    elif nested:
        for _, rows in chunks(SPLIT.decode(text)):
            yield b"[" + b",".join(rows) + b"]"
    else:
        start = 1
        while (end := text.find(b",", start + CHUNK_BYTES)) > 0:
            yield b"[" + text[start:end] + b"]"
            start = end + 1
        yield b"[" + text[start:]


@cache
def _decoder(depth: int, value: Any) -> msgspec.json.Decoder[Any]:
    """Return a decoder of lists of this depth that checks the values' type."""
    kind: Any = value
    for _ in range(depth):
        kind = list[kind]
    return msgspec.json.Decoder(kind)


def _misfit(found: str, datatype: str, shape: Sequence[int], field: str) -> InvalidInput:
    sizes = "×".join(map(str, shape))
    message = f"{field}.data: expected {sizes} values of {datatype}, in one list or nested like the shape; {found}"
    return InvalidInput(message, field=f"{field}.data", expected=list(shape))
