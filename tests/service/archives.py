"""Files of arrays, sound and odd."""

import io
import zipfile

import numpy as np

from service.model.runtime import Array


def npy(array: Array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays: Array) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def stored(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def deflate_damaged() -> bytes:
    content = bytearray(npz(input=np.random.default_rng(0).normal(size=(20, 4))))
    content[62] ^= 0xFF
    return bytes(content)
