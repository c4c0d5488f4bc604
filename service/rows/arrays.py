"""Read numpy's files from untrusted sources, without pickles.

For a damaged file numpy raises any of the exceptions of the modules it uses: zipfile, zlib, tokenize, ast.
"""

import io
import sys
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.model.manifest import Manifest, TensorSpec

Array = NDArray[Any]

MAGIC_OF_ZIP, MAGIC_OF_NPY = b"PK\x03\x04", b"\x93NUMPY"
PAIRS = (("x_train", "y_train"), ("x", "y"), ("X", "y"), ("inputs", "targets"), ("data", "target"))
"""Names of inputs and targets in training files."""
TEST = ("x_test", "y_test")
"""Names of the test rows that accompany the first of the pairs."""


def read_npz(content: bytes, max_unpacked_bytes: int = sys.maxsize) -> dict[str, Array]:
    """Return the arrays of an NPZ file by name. Raises ValueError with the reason.

    The unpacked size stated in the file is checked first, as a small file may unpack to a large one.
    """
    if content.startswith(MAGIC_OF_NPY):
        raise ValueError("not an NPZ file, but NPY, which has one array without a name")
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
    """Return the array of an NPY file. Raises ValueError with the reason."""
    if content.startswith(MAGIC_OF_ZIP):
        raise ValueError("not an NPY file, but NPZ, which has arrays by name")
    if not content.startswith(MAGIC_OF_NPY):
        raise ValueError("not an NPY file")  # numpy would take it for a pickle
    try:
        array: Array = np.load(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # noqa: BLE001 - see above
        raise ValueError(f"not an NPY file: {error}") from None
    return array


def find_pair(arrays: Mapping[str, Array]) -> tuple[str, str] | None:
    """Return the names of inputs and targets in a training file, or None."""
    return next((pair for pair in PAIRS if set(pair) <= set(arrays)), None)


def fit_arrays(arrays: Mapping[str, Array], manifest: Manifest) -> dict[str, Array]:
    """Return the array of each of the model's inputs, by name.

    For a model of one input, a single array may have any name, and the inputs of a training file are found too.
    """
    names = [spec.name for spec in manifest.inputs]
    if len(names) == 1 and names[0] not in arrays:
        if len(arrays) == 1:
            arrays = dict(zip(names, arrays.values(), strict=True))
        elif pair := find_pair(arrays):
            test = [arrays[TEST[0]]] if pair == PAIRS[0] and TEST[0] in arrays else []
            arrays = {names[0]: np.concatenate([arrays[pair[0]], *test])}
    if not set(names) <= set(arrays):
        return dict(arrays)  # to be refused by name
    return {spec.name: fit_array(arrays[spec.name], spec) for spec in manifest.inputs}


def fit_array(array: Array, spec: TensorSpec) -> Array:
    """Return rows in the model's order of axes; images may lack the channel axis or have it last."""
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    shape = array.shape[1:]
    if shape == spec.shape or len(spec.shape) != 3:
        return array
    if spec.shape == (1, *shape):
        return array[:, None]
    if len(shape) == 3 and spec.shape == (shape[2], *shape[:2]):
        return array.transpose(0, 3, 1, 2)
    return array
