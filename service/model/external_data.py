"""Refuse ONNX graphs whose weights are in other files than weights.bin, before onnxruntime reads those files.

A tensor may name any file (`TensorProto.external_data`), which onnxruntime opens relative to a folder.
This module walks the protobuf by field number, through the messages that can contain a tensor
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from collections.abc import Iterator

from service.errors import InvalidModel
from service.model.manifest import WEIGHTS

HOLDERS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse tensor",
        23: "sparse tensor",
    },
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""The fields of each message that can lead to a tensor, with the message that each contains."""

EXTERNAL_DATA, DATA_LOCATION = 13, 14
KEY, VALUE = 1, 2
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
PLACE = {b"location", b"offset", b"length"}
"""The keys that say where a tensor's bytes are."""
DIGITS = 18
"""The most digits of an offset or length, which fit into 64 bits."""


def check_external_data(content: bytes, name: str, weights_size: int = 0) -> None:
    """Raise InvalidModel unless every tensor of the graph is in it, or in weights.bin, which has so many bytes.

    Without weights.bin all must be in the graph. Content that is not protobuf is refused, too.
    """
    unread = [("model", memoryview(content))]
    try:
        while unread:
            kind, message = unread.pop()
            place: list[tuple[bytes, bytes]] = []
            is_elsewhere = False
            for field, value in _fields(message):
                if kind == "tensor" and field == EXTERNAL_DATA:
                    place.append(_entry(value))
                elif kind == "tensor" and field == DATA_LOCATION and value != 0:
                    is_elsewhere = True
                if field in HOLDERS[kind] and isinstance(value, memoryview):
                    unread.append((HOLDERS[kind][field], value))
            if is_elsewhere or place:
                _check_place(place, name, weights_size)
    except (IndexError, ValueError):
        raise InvalidModel(f"{name}: is not an ONNX file", file=name) from None


def _entry(value: int | memoryview) -> tuple[bytes, bytes]:
    """Return key and value of an entry; ValueError for a damaged one."""
    if not isinstance(value, memoryview):
        raise ValueError("an entry is a message")
    parts = {field: bytes(part) for field, part in _fields(value) if isinstance(part, memoryview)}
    return parts.get(KEY, b""), parts.get(VALUE, b"")


def _check_place(place: list[tuple[bytes, bytes]], name: str, weights_size: int) -> None:
    """Raise InvalidModel unless a tensor's bytes are within weights.bin, named once and without doubt."""
    entries = dict(place)
    if not weights_size or entries.get(b"location") != WEIGHTS.encode():
        expected = f"all in this one or in {WEIGHTS}" if weights_size else "all in this one"
        raise InvalidModel(f"{name}: has weights in another file; expected {expected}", file=name)
    numbers = [entries.get(key, b"") for key in (b"offset", b"length")]
    if len(place) != len(PLACE) or entries.keys() != PLACE or not all(map(_is_number, numbers)):
        raise InvalidModel(f"{name}: has weights without offset and length in {WEIGHTS}", file=name)
    if sum(map(int, numbers)) > weights_size:
        message = f"{name}: has weights beyond the end of {WEIGHTS}, which has {weights_size} bytes"
        raise InvalidModel(message, file=name)


def _is_number(text: bytes) -> bool:
    return text.isdigit() and len(text) <= DIGITS


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield field numbers and values of a protobuf message (https://protobuf.dev/programming-guides/encoding/)."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        field, wire = (tag & 0xFFFFFFFF) >> 3, tag & 7  # 32 bits, as protobuf's own parser keeps
        if wire == VARINT:
            value, place = _varint(message, place)
            yield field, value
            continue
        size, place = _varint(message, place) if wire == BYTES else ({FIXED64: 8, FIXED32: 4}.get(wire, -1), place)
        if size < 0 or place + size > len(message):
            raise ValueError(f"wire type {wire} of {size} bytes")
        yield field, message[place : place + size]
        place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """Return the number that starts at `place`, and the place after it."""
    number = shift = 0
    while True:
        byte = message[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return number, place
        if shift > 63:
            raise ValueError("a varint of more than 10 bytes")
