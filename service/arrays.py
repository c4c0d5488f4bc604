"""Arrays in numpy's files, from whoever: read without running anything, and without trust.

Of a damaged file numpy raises whatever the modules raise that it is made of: zipfile, zlib, tokenize, ast.
"""

import io
import sys
import zipfile

import numpy as np

from service.runtime import Array


def read_npz(content: bytes, max_unpacked_bytes: int = sys.maxsize) -> dict[str, Array]:
    """The arrays of an NPZ file by name; raises ValueError with the reason.

    What it says that it unpacks to is looked at before anything is unpacked: a small file may hold much.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            unpacked = sum(entry.file_size for entry in packed.infolist())
        if unpacked > max_unpacked_bytes:
            raise ValueError(f"it unpacks to {unpacked} bytes; at most {max_unpacked_bytes} are read")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = dict(file)
    except Exception as error:  # noqa: BLE001 - see above; of NPY too
        raise ValueError(f"not an NPZ file: {error}") from None
    if odd := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise ValueError(f"{odd[0]} is not an array")
    return arrays


def read_npy(content: bytes) -> Array:
    """The array of an NPY file; raises ValueError with the reason."""
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # noqa: BLE001 - see above
        raise ValueError(f"not an NPY file: {error}") from None
    if not isinstance(array, np.ndarray):
        raise ValueError("not an NPY file, but NPZ")
    return array
