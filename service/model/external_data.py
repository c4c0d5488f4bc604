"""Refuse ONNX graphs whose weights are in other files, before onnxruntime reads those files.

A tensor may name any file (`TensorProto.external_data`), which onnxruntime opens relative to the working directory.
This module walks the protobuf by field number, through the messages that can contain a tensor
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from collections.abc import Iterator

from service.errors import InvalidModel

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
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def refuse_external_data(content: bytes, name: str) -> None:
    """Raise InvalidModel if a tensor of the graph is in another file, or if the content is not protobuf."""
    unread = [("model", memoryview(content))]
    try:
        while unread:
            kind, message = unread.pop()
            for field, value in _fields(message):
                if kind == "tensor" and field in (EXTERNAL_DATA, DATA_LOCATION) and value not in (0, b""):
                    raise InvalidModel(f"{name}: has weights in another file; expected all in this one", file=name)
                if field in HOLDERS[kind] and isinstance(value, memoryview):
                    unread.append((HOLDERS[kind][field], value))
    except (IndexError, ValueError):
        raise InvalidModel(f"{name}: is not an ONNX file", file=name) from None


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
