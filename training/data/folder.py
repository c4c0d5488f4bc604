"""A folder of images with one folder a class in it."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.arrays import make_array_dataset
from training.data.choices import Choices
from training.data.dataset import Dataset
from training.errors import TrainingError

KINDS = {".png", ".jpg", ".jpeg"}
MODES = {"L": "greyscale", "RGB": "RGB"}


def read_folder(folder: Path) -> Dataset:
    """PNG and JPEG images, 8 bits a channel, all greyscale or all RGB, all of one size; raises TrainingError."""
    name = folder.resolve().name
    classes = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    files = [(file, each.name) for each in classes for file in _images(each)]
    if len(classes) < 2:
        raise TrainingError(
            f"{name}: expected two folders or more, one for each class, with its images; found {len(classes)}"
        )
    if empty := [each.name for each in classes if each.name not in {label for _, label in files}]:
        raise TrainingError(f"{name}: no PNG or JPEG images are in: {', '.join(empty)}")
    images = _same(folder, [file for file, _ in files])
    labels = np.array([label for _, label in files])
    return make_array_dataset(name, np.stack(images), labels, Choices())


def read_images(folder: Path) -> NDArray[Any]:
    """All PNG and JPEG images in the folder and in its own folders, whatever their classes: (rows, height, width), or
    with an axis of 3 channels behind. Raises TrainingError.
    """
    places = [folder, *sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))]
    files = [file for place in places for file in _images(place)]
    if not files:
        raise TrainingError(
            f"{folder.resolve().name}: expected PNG or JPEG images, in it or in folders in it; found none"
        )
    return np.stack(_same(folder, files))


def _images(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in KINDS and not file.name.startswith("."))


def _same(folder: Path, files: list[Path]) -> list[NDArray[Any]]:
    """The images, all of one shape."""
    images = [_read(file) for file in files]
    for file, image in zip(files, images, strict=True):
        if image.shape != images[0].shape:
            raise TrainingError(
                f"{file.relative_to(folder)}: has shape {image.shape}, {files[0].relative_to(folder)} has"
                f" {images[0].shape} (height, width and channels); bring all images to one size and mode"
            )
    return images


def _read(file: Path) -> NDArray[Any]:
    """(height, width), or (height, width, 3)"""
    try:
        from PIL import Image, UnidentifiedImageError
    except ModuleNotFoundError:
        raise TrainingError("Pillow is not installed; folders of images need: pip install pillow") from None
    try:
        with Image.open(file) as image:
            if image.mode not in MODES:
                raise TrainingError(
                    f"{file}: is an image of mode {image.mode}; convert it to 8-bit greyscale (L) or RGB without alpha"
                )
            return np.asarray(image)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise TrainingError(f"{file}: cannot be read as an image: {error}") from None
