"""A second data set by flag: what the network should doubt."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from service.model.manifest import read_manifest
from training.cli import app
from training.data import Choices, Dataset, load_data
from training.data.ood import read_ood
from training.errors import TrainingError

RNG = np.random.default_rng(0)


@pytest.fixture
def houses(tmp_path: Path) -> Dataset:
    size, town = RNG.uniform(20, 200, 100), np.array(["Bonn", "Trier"])[RNG.integers(0, 2, 100)]
    lines = [f"{s:.1f},{t},{2000 * s:.0f}" for s, t in zip(size, town, strict=True)]
    file = tmp_path / "houses.csv"
    file.write_text("\n".join(["size,town,price", *lines]))
    return load_data(str(file), Choices(target="price"))


@pytest.fixture
def images(tmp_path: Path) -> Dataset:
    """Bright on the left or on the right."""
    classes = np.arange(240) % 2
    pixels = RNG.integers(0, 100, (240, 8, 8), dtype=np.uint8)
    pixels[classes == 1, :, :4] += 150
    pixels[classes == 0, :, 4:] += 150
    np.savez(tmp_path / "sides.npz", x=pixels, y=classes)
    return load_data(str(tmp_path / "sides.npz"))


def test_columns_are_found_by_name_and_categories_by_theirs(houses: Dataset, tmp_path: Path) -> None:
    (tmp_path / "castles.csv").write_text("towers,town,size\n4,Trier,5000\n2,Bonn,9000\n")
    found = read_ood(str(tmp_path / "castles.csv"), houses)
    assert found.dtype == np.float64
    assert found.tolist() == [[5000.0, 1.0], [9000.0, 0.0]]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("castles.csv", "town\nBonn\n", "size"),
        ("castles.csv", "size,town\n70,Paris\n", "Paris"),
        ("castles.csv", "size,town\n", "no rows"),
        ("castles.json", "[]", "a CSV, JSON Lines or Parquet file"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    houses: Dataset, tmp_path: Path, name: str, content: str, said: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(TrainingError, match=said) as caught:
        read_ood(str(tmp_path / name), houses)
    assert caught.value.message.startswith("others: ")


def test_images_of_another_size_are_refused(images: Dataset, tmp_path: Path) -> None:
    np.savez(tmp_path / "large.npz", x=np.zeros((4, 9, 9)), y=[0, 1, 0, 1])
    with pytest.raises(TrainingError, match=r"1×9×9 values, and sides.npz of 1×8×8"):
        read_ood(str(tmp_path / "large.npz"), images)


def test_a_file_that_is_not_there_is_named(images: Dataset) -> None:
    with pytest.raises(TrainingError, match=r"others: .*nowhere"):
        read_ood("nowhere.npz", images)


def test_the_figures_tell_how_well_other_rows_are_doubted(images: Dataset, tmp_path: Path) -> None:
    stripes = np.zeros((50, 8, 8), dtype=np.uint8)
    stripes[:, ::2] = RNG.integers(100, 255, (50, 4, 8))
    np.savez(tmp_path / "stripes.npz", x=stripes, y=np.arange(50) % 2)
    quick = ["--epochs", "5", "--passes", "16", "--hidden", "32", "--device", "cpu", "--network", "mlp"]
    where = ["--data", str(tmp_path / "sides.npz"), "--others", str(tmp_path / "stripes.npz")]
    done = CliRunner().invoke(app, ["train", *where, *quick, "--models", str(tmp_path / "models")])
    assert done.exit_code == 0, done.output
    manifest = read_manifest(tmp_path / "models" / "sides" / "1")
    assert manifest.training["others"] == "stripes.npz"  # a path is nobody else's
    assert manifest.evaluation["mc"]["auroc_other_mutual_information"] > 0.7  # by chance 0.5, give or take 0.04
    assert "rows of other data" in (tmp_path / "models" / "sides" / "1" / "MODEL_CARD.md").read_text()


def test_a_folder_of_images_needs_no_classes(images: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "noise"
    (folder / "more").mkdir(parents=True)
    pixels = RNG.integers(0, 255, (3, 8, 8), dtype=np.uint8)
    for file, image in zip((folder / "a.png", folder / "b.png", folder / "more" / "c.png"), pixels, strict=True):
        Image.fromarray(image).save(file)
    np.testing.assert_array_equal(read_ood(str(folder), images)[:, 0], pixels)


def test_an_empty_folder_is_refused(images: Dataset, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match=r"^others: empty: expected pictures, in it"):
        read_ood(str(tmp_path / "empty"), images)
