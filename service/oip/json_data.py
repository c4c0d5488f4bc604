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
from service.model.runtime import Array
from service.oip.datatypes import BF16, DTYPES
from service.rows.json_chunks import CHUNK_BYTES, SPLIT, chunks, count
from service.rows.json_errors import in_words

NESTED = re.compile(rb"\s*\[\s*\[")
VALUES: dict[str, Any] = {"f": float, "i": int, "u": int, "b": bool}
"""The JSON types of numpy's kinds of numbers."""


def from_json(data: msgspec.Raw, datatype: str, shape: Sequence[int], field: str, spec: TensorSpec) -> Array:
    """Return JSON as an array of this shape, with NaN for null if the model's input may have missing values.

    Floating-point numbers keep the precision of the model's input even if `datatype` has less. Raises InvalidInput
    that names the field and what was expected.
    """
    if datatype == BF16:
        raise InvalidInput(f"{field}.data: JSON has no {BF16}; expected raw bytes, or FP32", field=f"{field}.data")
    dtype = DTYPES[datatype]
    if dtype.kind == "f" and spec.dtype.startswith("float"):
        dtype = np.promote_types(dtype, spec.dtype)
    nested = NESTED.match(data) is not None
    text = bytes(data)
    if len(text) > CHUNK_BYTES and (values := count(text, b",") + 1) > math.prod(shape):
        raise _misfit(f"found {values}", datatype, shape, field)
    value = float | None if spec.imputation and dtype.kind == "f" else VALUES[dtype.kind]
    decoder = _decoder(len(shape) if nested else 1, value)
    try:
        with np.errstate(over="ignore"):  # a number that is too large becomes infinite, and is refused as such
            array = np.concatenate([np.array(decoder.decode(part), dtype=dtype) for part in _parts(text, nested)])
    except msgspec.DecodeError as error:
        raise _misfit(in_words(str(error).partition(" - at ")[0]), datatype, shape, field) from None
    except (ValueError, OverflowError, RecursionError):  # ragged, or not of this type
        raise _misfit("found lists of different lengths, or a number out of range", datatype, shape, field) from None
    if array.shape != tuple(shape) and (nested or array.size != math.prod(shape)):
        found = f"found {'×'.join(map(str, array.shape))}"
        raise _misfit(found, datatype, shape, field)
    return (array.view(np.uint8) if datatype == "BOOL" else array).reshape(shape)


def _parts(text: bytes, nested: bool) -> Iterator[bytes]:
    """Yield the list, or a long one in chunks, between which other threads can run."""
    if len(text) <= CHUNK_BYTES or not text.startswith(b"["):
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
