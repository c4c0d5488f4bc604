"""NPZ and IDX files, and folders of images."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from training.data import Choices, ImageChoices, load_data, split_data
from training.errors import TrainingError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (60, 16, 16), dtype=np.uint8)
CLASSES = np.arange(60) % 3


def write_idx(file: Path, array: NDArray[np.uint8]) -> None:
    content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)


def npz(folder: Path, **arrays: NDArray[np.generic]) -> str:
    np.savez(folder / "some.npz", **arrays)  # type: ignore[arg-type]
    return str(folder / "some.npz")


def test_known_test_rows_are_the_test_part(tmp_path: Path) -> None:
    inputs = IMAGES.copy()
    inputs[7] = inputs[55]  # a training row that is a test row, too
    file = npz(tmp_path, x_train=inputs[:50], y_train=CLASSES[:50], x_test=inputs[50:], y_test=CLASSES[50:])
    data = load_data(file)
    assert (data.inputs.shape, data.features, data.labels, data.one_unit) == (
        (60, 1, 16, 16),
        (),
        ("0", "1", "2"),
        True,
    )
    split = split_data(data, 0.2, 0.2, 0.2, 0)
    np.testing.assert_array_equal(split.test.inputs[:, 0], inputs[50:])
    rest = np.concatenate([part.inputs for part in (split.train, split.validation, split.calibration)])
    assert len(rest) == 49
    assert not any(np.array_equal(row[0], inputs[55]) for row in rest)


def test_npz_of_features_and_of_colour_images(tmp_path: Path) -> None:
    data = load_data(npz(tmp_path, inputs=RNG.normal(size=(30, 4)), targets=RNG.normal(size=(30, 1))))
    assert (data.inputs.shape, data.features, data.task) == ((30, 4), ("x0", "x1", "x2", "x3"), "regression")
    colour = RNG.integers(0, 256, (60, 8, 9, 3), dtype=np.uint8)
    data = load_data(npz(tmp_path, x=colour, y=CLASSES))
    assert data.inputs.shape == (60, 3, 8, 9)
    assert data.inputs[5, 2, 3, 4] == colour[5, 3, 4, 2]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": CLASSES}, "expected arrays x_train and y_train; x and y; .*found: a"),
        ({"x": IMAGES, "y": CLASSES[:9]}, r"as many targets as rows; found \(9,\)"),
        ({"x": IMAGES.astype(object), "y": CLASSES}, "is not an NPZ file: Object arrays"),
        (
            {"x": np.where(IMAGES == 5, np.nan, 1.0), "y": CLASSES},
            r"have values that are not a number \(NaN\).*--missing drop",
        ),
        ({"x": IMAGES + np.inf, "y": CLASSES}, "infinite, or too large for 64 bits"),
        ({"x": IMAGES[..., None, None], "y": CLASSES}, r"expected inputs \(rows, features\)"),
    ],
)
def test_arrays_that_cannot_be_learned_from(
    tmp_path: Path, arrays: dict[str, NDArray[np.generic]], message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        load_data(npz(tmp_path, **arrays))


def test_rows_with_nan_are_left_out_when_it_is_said(tmp_path: Path) -> None:
    inputs = RNG.normal(size=(60, 4))
    inputs[[3, 58], 1] = np.nan
    file = npz(tmp_path, x_train=inputs[:50], y_train=CLASSES[:50], x_test=inputs[50:], y_test=CLASSES[50:])
    data = load_data(file, Choices(missing="drop"))
    assert (len(data.inputs), data.own_test_rows, data.notes) == (58, 9, ("2 of 60 rows left out, where there is NaN",))


@pytest.mark.parametrize("end", ["", ".gz"])
def test_idx_finds_its_labels_and_its_test_rows(tmp_path: Path, end: str) -> None:
    for part, rows in (("train", slice(50)), ("t10k", slice(50, None))):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte{end}", IMAGES[rows])
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", CLASSES[rows].astype(np.uint8))
    data = load_data(str(tmp_path / f"train-images-idx3-ubyte{end}"))
    np.testing.assert_array_equal(data.inputs[:, 0], IMAGES)
    np.testing.assert_array_equal(data.targets, CLASSES)
    assert data.own_test_rows == 10


def test_idx_that_is_cut_off_or_lacks_its_labels(tmp_path: Path) -> None:
    file = tmp_path / "train-images-idx3-ubyte"
    write_idx(file, IMAGES)
    with pytest.raises(TrainingError, match="expected its labels beside it, in train-labels-idx1-ubyte"):
        load_data(str(file))
    write_idx(tmp_path / "train-labels-idx1-ubyte", CLASSES.astype(np.uint8))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(TrainingError, match="is not IDX, or is cut off"):
        load_data(str(file))


def folder(place: Path, mode: str = "L", kind: str = "png") -> Path:
    for number in range(12):
        of_class = place / ("cat", "dog")[number % 2]
        of_class.mkdir(parents=True, exist_ok=True)
        Image.fromarray(IMAGES[number]).convert(mode).save(of_class / f"{number}.{kind}")
    return place


@pytest.mark.parametrize(("mode", "kind", "channels"), [("L", "png", 1), ("RGB", "png", 3), ("RGB", "jpg", 3)])
def test_a_folder_of_images(tmp_path: Path, mode: str, kind: str, channels: int) -> None:
    data = load_data(str(folder(tmp_path, mode, kind)))
    assert (data.inputs.shape, data.labels) == ((12, channels, 16, 16), ("cat", "dog"))
    if kind == "png":
        first = np.flatnonzero(data.targets == 0)[0]
        np.testing.assert_array_equal(data.inputs[first, 0], IMAGES[0])


def test_folders_that_cannot_be_learned_from(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="expected two folders or more, one for each class"):
        load_data(str(tmp_path))
    folder(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match=r"no pictures are in: empty$"):
        load_data(str(tmp_path))
    (tmp_path / "empty" / "notes.txt").write_text("none yet")
    with pytest.raises(TrainingError, match=r"are in: empty; there are: no pictures that Pillow reads \(\.txt\) 1$"):
        load_data(str(tmp_path))
    with pytest.raises(TrainingError, match="target, ignore, categorical, task and missing are for files"):
        load_data(str(tmp_path), Choices(target="animal"))
    with pytest.raises(TrainingError, match="size, resize, mode and background are for folders of pictures"):
        load_data(npz(tmp_path, x=IMAGES, y=CLASSES), Choices(images=ImageChoices(size=(9, 9))))
