"""The large weights of a model's graphs, moved once from the graphs to a file."""

import hashlib
import os
import shutil
import tempfile
import weakref
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from service.model.manifest import WEIGHTS, sha256
from training.errors import CannotExport

SMALLEST = 1024
"""Bytes of the smallest weight that is moved, as by ONNX's own tools."""
ALIGNMENT = 64
"""Weights begin at multiples of so many bytes, a line of a processor's cache."""
MOVED = {
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.DOUBLE,
    TensorProto.INT8,
    TensorProto.UINT8,
}
"""Types of weights; constants that shapes and indices are computed from have others."""


class Weights:
    """The file weights.bin in a temporary folder of its own, deleted with this object.

    Graphs name it as ONNX external data. Equal weights are stored once.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._places: dict[bytes, int] = {}
        self.folder: Path | None = None
        """The folder of the file; None without any weight."""
        self._size = 0

    @property
    def sha256(self) -> str:
        """The file's digest in hexadecimal."""
        if self.folder is None:
            return sha256(b"")
        with (self.folder / WEIGHTS).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def take_from(self, model: ModelProto) -> None:
        """Move the large weights of a graph to the file, in place; raise CannotExport if it cannot be written."""
        for tensor in model.graph.initializer:
            if tensor.data_location != TensorProto.EXTERNAL and tensor.data_type in MOVED:
                content = _content(tensor)
                if len(content) >= SMALLEST:
                    _refer(tensor, self._place(content), len(content))

    def _place(self, content: bytes) -> int:
        """Return the offset of the bytes in the file, at its end if they are new."""
        key = hashlib.sha256(content).digest()
        if key not in self._places:
            try:
                self._places[key] = self._append(content)
            except OSError as error:
                reason = f"cannot be written to a temporary folder; set TMPDIR: {error.strerror}"
                raise CannotExport(f"weights: {reason}") from None
        return self._places[key]

    def _append(self, content: bytes) -> int:
        if self.folder is None:
            self.folder = Path(tempfile.mkdtemp(prefix="dropserve-"))
            weakref.finalize(self, _delete, self.folder, os.getpid())
        offset = -(-self._size // ALIGNMENT) * ALIGNMENT
        with (self.folder / WEIGHTS).open("ab") as file:
            file.write(bytes(offset - self._size))
            file.write(content)
        self._size = offset + len(content)
        return offset


def _delete(folder: Path, owner: int) -> None:
    """Delete a folder, unless this is a process forked from that which made it."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _content(tensor: TensorProto) -> bytes:
    """Return a tensor's bytes in row-major order, little-endian."""
    if tensor.HasField("raw_data"):
        return tensor.raw_data
    array = numpy_helper.to_array(tensor)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def _refer(tensor: TensorProto, offset: int, length: int) -> None:
    """Replace a tensor's bytes by their place in the file."""
    kept = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    kept.data_location = TensorProto.EXTERNAL
    for key, value in (("location", WEIGHTS), ("offset", str(offset)), ("length", str(length))):
        kept.external_data.add(key=key, value=value)
    tensor.CopyFrom(kept)


def place_of(tensor: TensorProto) -> tuple[int, int] | None:
    """Return offset and length of a tensor's bytes in the file; None where they are in the graph."""
    if tensor.data_location != TensorProto.EXTERNAL:
        return None
    entries = {entry.key: entry.value for entry in tensor.external_data}
    return int(entries["offset"]), int(entries["length"])
