"""Folders of pictures of all kinds: what is read, what is left out, and by which rule they become rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from service.model.manifest import read_manifest
from training.cli import app
from training.data import Choices, ImageChoices, load_data
from training.errors import TrainingError

RNG = np.random.default_rng(4)
KINDS = ("png", "jpg", "webp", "bmp", "gif", "tiff", "ppm")


def picture(side: int = 16, *, bright: bool) -> Image.Image:
    """Bright or dark above, the other way round below."""
    pixels = RNG.integers(0, 60, (side, side, 3), dtype=np.uint8)
    pixels[: side // 2 if bright else side, :] += 120
    pixels[side // 2 if bright else 0 :, :] //= 2
    return Image.fromarray(pixels)


def save(image: Image.Image, file: Path, **options: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A hundred pictures of two classes in seven formats, some of them in folders in a class's folder."""
    for number in range(98):
        name = ("day", "night")[number % 2]
        inner = tmp_path / "sky" / name / ("more/still" if number % 3 == 0 else "")
        save(picture(bright=name == "day"), inner / f"{number}.{KINDS[number % 7]}")
    return tmp_path / "sky"


def test_every_picture_is_read_whatever_its_format(folder: Path) -> None:
    data = load_data(str(folder))
    assert (data.inputs.shape, data.labels) == ((98, 3, 16, 16), ("day", "night"))
    assert np.bincount(data.targets.astype(int)).tolist() == [49, 49]
    assert data.image
    assert data.image.mode == "RGB"
    assert "98 pictures (BMP 14, GIF 14, JPEG 14, PNG 14, PPM 14, TIFF 14, WEBP 14) of 16×16" in data.notes[0]


def test_what_is_left_out_is_counted_with_its_reason(folder: Path) -> None:
    (folder / "day" / "Thumbs.db").write_bytes(b"thumbs")
    (folder / "day" / "labels.txt").write_text("all day")
    (folder / "day" / ".DS_Store").write_bytes(b"mac")
    save(picture(bright=True), folder / "loose.png")
    data = load_data(str(folder))
    assert len(data.inputs) == 98
    assert data.notes[-2:] == (
        "left out: hidden 1, no pictures that Pillow reads (.db) 1, no pictures that Pillow reads (.txt) 1",
        "left out, in no class's folder: 1",
    )


def test_damaged_pictures_are_refused_or_left_out_on_demand(folder: Path) -> None:
    whole = (folder / "day" / "2.webp").read_bytes()
    (folder / "day" / "cut.webp").write_bytes(whole[: len(whole) // 2])
    (folder / "day" / "empty.png").touch()
    with pytest.raises(
        TrainingError, match=r"day/(empty\.png|cut\.webp): expected an image.*, and 1 more; leave .*--missing drop"
    ):
        load_data(str(folder))
    data = load_data(str(folder), Choices(missing="drop"))
    assert len(data.inputs) == 98
    assert data.notes[-1].startswith("left out, damaged: 2, such as day/")


def test_sizes_and_modes_differ_and_one_rule_holds(folder: Path) -> None:
    save(picture(40, bright=True).convert("RGBA"), folder / "day" / "large.png")
    save(picture(30, bright=True).convert("L"), folder / "day" / "grey.png")
    data = load_data(str(folder))
    assert data.inputs.shape == (100, 3, 16, 16)  # the median of the shorter sides
    assert "of 3 sizes, 16×16 to 40×40, in Pillow's modes" in data.notes[0]
    assert data.notes[1].startswith("each becomes 16×16 pixels (height×width) of mode RGB, by resize=crop")
    chosen = load_data(str(folder), Choices(images=ImageChoices((8, 12), "stretch", "L", "#000000")))
    assert chosen.inputs.shape == (100, 1, 8, 12)
    assert chosen.image
    assert chosen.image.model_dump() == {
        "mode": "L",
        "resize": "stretch",
        "resample": "bilinear",
        "background": "#000000",
    }


def test_pictures_stored_turned_are_the_same_rows(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    for number in range(8):
        image = picture(bright=number % 2 == 0)
        save(image, tmp_path / "upright" / str(number % 2) / f"{number}.png")
        save(image.rotate(180), tmp_path / "turned" / str(number % 2) / f"{number}.png", exif=exif)
    upright, turned = (load_data(str(tmp_path / name)) for name in ("upright", "turned"))
    np.testing.assert_array_equal(upright.inputs, turned.inputs)


def test_a_folder_of_parts_has_its_classes_below(tmp_path: Path) -> None:
    for part, rows in (("test", 4), ("train", 8), ("Val", 2)):
        for number in range(rows):
            save(picture(bright=number % 2 == 0), tmp_path / part / ("day", "night")[number % 2] / f"{number}.png")
    save(picture(bright=True), tmp_path / "test" / "unknown.png")
    data = load_data(str(tmp_path))
    assert (data.labels, len(data.inputs), data.own_test_rows) == (("day", "night"), 14, 4)
    assert data.notes[-1] == "left out, in no class's folder: 1"
    save(picture(bright=True), tmp_path / "test" / "dusk" / "1.png")
    with pytest.raises(TrainingError, match="the test part has classes that no other part has: dusk"):
        load_data(str(tmp_path))


def test_links_are_followed_and_loops_are_not(folder: Path) -> None:
    (folder / "day" / "again").symlink_to(folder / "day")
    assert len(load_data(str(folder)).inputs) == 98


def test_a_folder_is_of_classes_which_may_be_said(folder: Path) -> None:
    """As `import` says it where labels are given."""
    assert load_data(str(folder), Choices(task="classification")).labels == load_data(str(folder)).labels
    with pytest.raises(TrainingError, match="is a classification without named columns"):
        load_data(str(folder), Choices(task="regression"))


def test_the_rule_is_published(folder: Path, tmp_path: Path) -> None:
    quick = ["--epochs", "2", "--passes", "8", "--hidden", "8", "--device", "cpu", "--network", "mlp"]
    how = ["--size", "8x6", "--mode", "L", "--resize", "pad", "--background", "#00FF00"]
    done = CliRunner().invoke(app, ["train", "--data", str(folder), *how, *quick, "--models", str(tmp_path / "models")])
    assert done.exit_code == 0, done.output
    manifest = read_manifest(tmp_path / "models" / "sky" / "1")
    assert manifest.inputs[0].shape == (1, 8, 6)
    assert manifest.inputs[0].image
    assert manifest.inputs[0].image.model_dump() == {
        "mode": "L",
        "resize": "pad",
        "resample": "bilinear",
        "background": "#00ff00",
    }
    card = (tmp_path / "models" / "sky" / "1" / "MODEL_CARD.md").read_text()
    assert "Pictures are converted to rows: upright by their EXIF, mode L, resized to 8×6" in card


@pytest.mark.parametrize("size", ["0", "8x", "8x8x8", "wide", "-3", "9000"])
def test_a_size_that_is_none_is_refused(size: str, folder: Path) -> None:
    done = CliRunner().invoke(app, ["train", "--data", str(folder), "--size", size])
    assert done.exit_code == 2
    assert "--size: " in done.stderr
    assert f"given: '{size}'" in done.stderr
