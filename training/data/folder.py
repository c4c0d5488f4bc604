"""Read a folder of pictures: one folder a class, or such folders in train, validation and test."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.arrays import make_array_dataset
from training.data.choices import Choices, ImageChoices
from training.data.dataset import Dataset
from training.data.pictures import Found, counted, damage, decode, describe, find_pictures, settle
from training.errors import TrainingError

PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Names of folders that stand for a part of the data instead of a class."""


@dataclass(frozen=True, slots=True)
class ClassFolder:
    """A folder with the pictures of one class."""

    path: Path
    part: str
    """The part of the data: train, validation or test."""

    @property
    def label(self) -> str:
        """The name of the class."""
        return self.path.name


def read_folder(folder: Path, choices: Choices) -> Dataset:
    """Read pictures of any format that Pillow reads, by one rule; the class of each is the folder that it lies in.

    Nested folders belong to the class; a `test` folder of classes is the source's own test part. Files that are not
    pictures are left out and counted in the notes. Damaged pictures are refused, or left out with `missing="drop"`.
    Raises TrainingError.
    """
    name, classes = folder.resolve().name, _class_folders(folder)
    labels = sorted({each.label for each in classes})
    if len(labels) < 2:
        raise TrainingError(
            f"{name}: expected two folders or more, one for each class, with its pictures; found {len(labels)}"
        )
    class_of = {file: each for each in classes for file in _files(each.path)}
    found = find_pictures(class_of)
    filled = {class_of[picture.file].label for picture in found.pictures}
    if empty := [label for label in labels if label not in filled]:
        raise TrainingError(f"{name}: no pictures are in: {', '.join(empty)}{_instead(found)}")
    rule, size = settle(found.pictures, choices.images)
    pixels, found = decode(found, rule, size)
    if found.damaged and choices.missing == "refuse":
        raise TrainingError(f"{name}: {damage(found)}; leave such files out with --missing drop")
    data = make_array_dataset(
        name,
        np.stack(list(pixels.values())),
        np.array([class_of[file].label for file in pixels]),
        Choices(),
        own_test_rows=_test_rows(name, [class_of[file] for file in pixels]),
    )
    loose = sum(1 for _ in _loose_files(folder, classes))
    notes = (*describe(found, rule, size), *([f"left out, in no class's folder: {loose}"] if loose else []))
    return replace(data, image=rule, notes=notes)


def read_images(folder: Path, choices: ImageChoices) -> NDArray[np.uint8]:
    """Read all pictures in the folder and below it, of whatever class: (rows, channels, height, width).

    Raises TrainingError.
    """
    name, found = folder.resolve().name, find_pictures(_files(folder))
    if not found.pictures:
        raise TrainingError(f"{name}: expected pictures, in it or in folders in it; found none{_instead(found)}")
    pixels, found = decode(found, *settle(found.pictures, choices))
    if found.damaged:
        raise TrainingError(f"{name}: {damage(found)}")
    return np.stack(list(pixels.values()))


def _class_folders(folder: Path) -> list[ClassFolder]:
    """Return the folders of classes, those of the test part last."""
    part_of = {name: part for part, names in PARTS.items() for name in names}
    folders = _folders(folder)
    if not folders or any(each.name.lower() not in part_of for each in folders):
        return [ClassFolder(each, "train") for each in folders]
    classes = [ClassFolder(path, part_of[each.name.lower()]) for each in folders for path in _folders(each)]
    return sorted(classes, key=lambda each: each.part == "test")


def _folders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith((".", "__MACOSX")))


def _files(folder: Path) -> Iterator[Path]:
    """Yield all files in the folder and below it; links are followed, each folder is entered once."""
    entered: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders.sort()
        yield from (Path(place, name) for name in sorted(names))


def _loose_files(folder: Path, classes: Sequence[ClassFolder]) -> Iterator[Path]:
    """Yield the files beside the folders of classes."""
    for place in {folder, *(each.path.parent for each in classes)}:
        yield from (file for file in place.iterdir() if file.is_file() and not file.name.startswith("."))


def _test_rows(name: str, rows: Sequence[ClassFolder]) -> int:
    """Return the number of rows of the source's own test part; raise TrainingError for a class that only it has."""
    learned, tested = ({row.label for row in rows if (row.part == "test") is is_test} for is_test in (False, True))
    if unknown := sorted(tested - learned):
        raise TrainingError(f"{name}: the test part has classes that no other part has: {', '.join(unknown)}")
    return sum(row.part == "test" for row in rows)


def _instead(found: Found) -> str:
    """Return the end of an error message: the files that are there in place of pictures."""
    if found.damaged:
        return f"; {damage(found)}"
    return f"; there are: {counted(found.left_out)}" if found.left_out else ""
