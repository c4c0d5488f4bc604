"""The protocol's datatypes and numpy's, and tensors as raw bytes, little-endian and row-major."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from service.errors import InvalidInput
from service.model.runtime import Array
from service.rows.unchecked import Tensor

DTYPES = {
    "BOOL": np.dtype("?"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""The numeric types. BF16, which numpy lacks, is read as the upper half of FP32; BYTES, strings, are output only."""

BF16 = "BF16"
BYTES = "BYTES"

ENCODED = DTYPES | {BF16: DTYPES["UINT16"], "BOOL": DTYPES["UINT8"]}
"""The types of raw bytes."""

NAMES = {"float32": "FP32", "float64": "FP64", "int32": "INT32", "int64": "INT64"}
"""The datatypes of the types of a model's inputs."""

NUMERIC = (*DTYPES, BF16)

READ_SECONDS_PER_BYTE = 5e-10
"""Seconds per byte to read raw bytes into a checked array."""


def check_datatype(datatype: str, field: str) -> None:
    """Raise InvalidInput unless the datatype is numeric."""
    if datatype not in DTYPES and datatype != BF16:
        found = f"{BYTES}, but the model's inputs are numbers" if datatype == BYTES else repr(datatype[:100])
        message = f"{field}.datatype: expected one of {', '.join(NUMERIC)}; found {found}"
        raise InvalidInput(message, field=f"{field}.datatype", expected=list(NUMERIC))


def from_bytes(raw: bytes, datatype: str, shape: Sequence[int], field: str) -> Tensor:
    """Return raw bytes as a tensor of a non-negative shape. Raises InvalidInput for a wrong number of bytes."""
    dtype = ENCODED[datatype]
    expected = math.prod(shape) * dtype.itemsize
    if len(raw) != expected:
        sizes = "×".join(map(str, shape))
        message = f"{field}: expected {expected} bytes, {sizes} of {datatype}; found {len(raw)}"
        raise InvalidInput(message, field=field, expected=expected, found=len(raw))
    array = np.frombuffer(raw, dtype)
    if datatype == "BOOL":
        _check_bool(array, field)
    elif datatype == BF16:
        return Tensor((array.astype("<u4") << 16).view("<f4"), DTYPES["FP32"], shape[0])
    return Tensor(array, dtype, shape[0])


def to_bytes(array: Array, datatype: str) -> bytes:
    """Return an array of the datatype's numpy type as raw bytes; before each string is its length in four bytes."""
    if datatype == BYTES:
        return b"".join([_encode_string(text) for text in array.ravel().tolist()])
    return array.tobytes()


@lru_cache(maxsize=1024)
def _encode_string(text: str) -> bytes:
    """Return a string, such as a label, with its length before it."""
    content = text.encode()
    return len(content).to_bytes(4, "little") + content


def _check_bool(octets: Array, field: str) -> None:
    """Raise InvalidInput for a byte other than 0 and 1."""
    if (octets > 1).any():
        raise InvalidInput(f"{field}: expected bytes 0 and 1 of BOOL, found {octets.max()}", field=field)
