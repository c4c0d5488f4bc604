"""Read IDX files, the format of MNIST (LeCun, yann.lecun.com/exdb/mnist): two zero bytes, type, axes, sizes, values."""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.arrays import make_array_dataset, with_test_rows
from training.data.choices import Choices
from training.data.dataset import Dataset
from training.errors import TrainingError

TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
"""The numpy type of each type code."""


def read_idx(path: Path, choices: Choices) -> Dataset:
    """Read images and, from the file beside them, their labels; `t10k-…` beside `train-…` is the test part.

    Raises TrainingError.
    """
    if "images-idx3" not in _plain(path.name):
        raise TrainingError(
            f"{path.name}: name the file of the images, …-images-idx3-ubyte; its labels are found by it"
        )
    inputs, targets = _pair(path)
    test = _beside(path, path.name.replace("train", "t10k", 1)) if path.name.startswith("train") else None
    if test is None:
        return make_array_dataset(path.name, inputs, targets, choices)
    return with_test_rows(path.name, inputs, targets, *_pair(test), choices)


def _pair(images: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    name = images.name.replace("images-idx3", "labels-idx1").replace("images.idx3", "labels.idx1")
    labels = _beside(images, name)
    if labels is None:
        raise TrainingError(f"{images.name}: expected its labels beside it, in {name}")
    return read_array(images), read_array(labels)


def _beside(path: Path, name: str) -> Path | None:
    """Return the path of the file of that name in the same folder, compressed or not; None without one."""
    bare = name.removesuffix(".gz")
    return next((path.with_name(each) for each in (name, bare, f"{bare}.gz") if path.with_name(each).exists()), None)


def _plain(name: str) -> str:
    return name.replace(".idx", "-idx")


def read_array(path: Path) -> NDArray[Any]:
    """Return the array of an IDX file, compressed or not; raise TrainingError for any other content."""
    content = path.read_bytes()
    try:
        content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
        zeros, kind, axes = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{axes}I", content, 4)
    except (struct.error, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise TrainingError(f"{path.name}: cannot be read as IDX: {error}") from None
    start = 4 + 4 * axes
    if zeros or kind not in TYPES or len(content) - start != math.prod(shape) * np.dtype(TYPES[kind]).itemsize:
        raise TrainingError(f"{path.name}: is not IDX, or is cut off: {len(content)} bytes for shape {shape}")
    array = np.frombuffer(content, TYPES[kind], offset=start).reshape(shape)
    return array.astype(array.dtype.newbyteorder("="))
