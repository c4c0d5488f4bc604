"""The command, from data or a model to files that need nothing else; and what it refuses."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from service.engine.masks import MaskCache
from service.loading.load import load_model
from tests.toy import ToyNet
from training.cli import app

VOID = {"meta", "br", "img", "link", "hr", "input"}
TITLES = (
    "Training drops each activation with probability p",
    "Prediction drops nothing and rescales nothing",
    "Only the training flag matters",
    "Dropout spreads knowledge over many units",
    "Dropout regularises",
    "The consensus of thinned networks is better than each of them",
)


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small published model with a report beside it, which is in float32 though it is not, and one in `out`."""
    models = tmp_path_factory.mktemp("models")
    small = ("--hidden", "24,16", "--epochs", "5", "--passes", "10", "--device", "cpu", "--precision", "bfloat16")
    assert command("train", *small, "--models", models, "--name", "small").exit_code == 0
    folder = models / "small" / "1"
    result = command("behaviour", "--quick", "--model", folder, "--out", models / "out")
    assert result.exit_code == 0, result.output
    assert f"Report: {models}/out/behaviour.html, {folder}/behaviour.html" in result.output
    return folder


class Page(HTMLParser):
    """Sees that every element is closed, and what the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "data", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(model: Path) -> None:
    text = (model / "behaviour.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert not {"script", "link", "img", "iframe", "object"}.intersection(page.tags)
    assert all(link.startswith("#") for link in page.loads)
    assert "url(" not in text
    assert "@import" not in text
    assert page.tags.count("section") == 6
    assert page.tags.count("svg") == 8
    assert len(text) < 500_000
    assert "prefers-color-scheme:dark" in text


def test_page_and_markdown_say_the_same_numbers(model: Path) -> None:
    page = html.unescape((model / "behaviour.html").read_text()).replace("\u00a0", " ")
    markdown = re.sub(r"\\([\\|`<\[])", r"\1", (model / "behaviour.md").read_text())
    rows = [line for line in markdown.splitlines() if line.startswith("| ") and " --- " not in line]
    cells = {
        cell for row in rows for cell in row.strip("| ").split(" | ") if re.search(r"\d", cell) and "**" not in cell
    }
    assert len(cells) > 200
    assert [cell for cell in cells if cell not in page and not cell.isdigit()] == []
    assert all(title in page and title in markdown for title in TITLES)


def test_it_says_what_it_belongs_to(model: Path) -> None:
    manifest = json.loads((model / "manifest.json").read_text())
    for name in ("behaviour.html", "behaviour.md"):
        text = (model / name).read_text()
        assert "small/1" in text
        assert manifest["training_data"]["sha256"] in text
        assert manifest["created"] in text
        assert "small/1: predict.onnx: dropout or random operators" in text
        assert str(model) not in text


def test_the_markdown_has_its_charts_beside_it(model: Path) -> None:
    out = model.parent.parent / "out"
    named = re.findall(r"!\[[^]]+\]\(([^)]+)\)", (out / "behaviour.md").read_text())
    assert len(named) == 8
    for name in named:
        assert ElementTree.parse(out / name).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert "![" not in (model / "behaviour.md").read_text()


def test_the_model_loads_as_before(model: Path) -> None:
    assert load_model(model, MaskCache(2**20)).manifest.name == "small"
    names = {path.name for path in model.iterdir()}
    assert {"behaviour.html", "behaviour.md"} < names
    assert not any(name.startswith(".") for name in names)


def test_the_same_seed_gives_the_same_report_and_a_quick_one_replaces_none(model: Path, tmp_path: Path) -> None:
    first = model.parent.parent / "out"
    page = (model / "behaviour.html").read_bytes()
    result = command("behaviour", "--quick", "--model", model, "--out", tmp_path / first.name)
    assert result.exit_code == 0, result.output
    once, again = (
        re.sub(r"Made .*", "", (folder / "behaviour.md").read_text()) for folder in (first, tmp_path / first.name)
    )
    assert once == again
    assert (model / "behaviour.html").read_bytes() == page


def houses(folder: Path) -> Path:
    """A regression."""
    random = np.random.default_rng(0)
    sizes, ages = random.uniform(20, 200, 300), random.uniform(0, 80, 300)
    prices = 3 * sizes - ages + random.normal(size=300) * 9
    rows = "\n".join(f"{a:.2f},{b:.2f},{c:.2f}" for a, b, c in zip(sizes, ages, prices, strict=True))
    file = folder / "houses.csv"
    file.write_text(f"size,age,price\n{rows}\n")
    return file


@pytest.mark.parametrize("noise", ["fitted", "learned"])
def test_a_regression_from_a_file_of_the_users_own(tmp_path: Path, noise: str) -> None:
    small = ("--hidden", "16", "--epochs", "5", "--passes", "10", "--device", "cpu", "--noise", noise)
    file = houses(tmp_path)
    assert command("train", "--data", file, "--target", "price", *small, "--models", tmp_path).exit_code == 0
    model = tmp_path / "houses" / "1"
    refused = command("behaviour", "--quick", "--model", model)
    assert refused.exit_code == 2
    assert "houses/1 was trained on houses.csv, which is not here; name its place with --data" in refused.output
    result = command("behaviour", "--quick", "--model", model, "--data", file)
    assert result.exit_code == 0, result.output
    text = (model / "behaviour.md").read_text()
    assert all(title in text for title in TITLES)
    assert "relative RMSE at 50 % squashed" in text
    assert "houses/1: standard deviation: Spearman's correlation with the error" in text
    assert " nan" not in text
    assert "dropserve behaviour --model models/houses/1 --data houses.csv --quick" in text
    assert "its verdicts are not reliable" in text


def test_the_command_told_has_all_that_was_said(tmp_path: Path) -> None:
    said = (
        "--target",
        "price",
        "--ignore",
        "age",
        "--missing",
        "drop",
        "--hidden",
        "12",
        "--seeds",
        "2",
        "--epochs",
        "2",
    )
    shown = command(
        "behaviour", "--data", houses(tmp_path), *said, "--device", "cpu", "--quick", "--out", tmp_path / "out"
    )
    assert shown.exit_code == 0, shown.output
    wanted = (
        "behaviour --data houses.csv --target price --ignore age --missing drop --hidden 12 --device cpu --seeds 2"
        " --epochs 2 --quick --out out`"
    )
    assert wanted in (tmp_path / "out" / "behaviour.md").read_text()


def test_other_data_than_the_models_is_refused(model: Path, tmp_path: Path) -> None:
    rows = "\n".join(f"{i % 7},{i * 37 % 11},{'yes' if i % 3 else 'no'}" for i in range(90))
    (tmp_path / "other.csv").write_text(f"a,b,c\n{rows}\n")
    before = (model / "behaviour.html").read_bytes()
    result = command("behaviour", "--quick", "--model", model, "--data", tmp_path / "other.csv", "--target", "c")
    assert result.exit_code == 1
    assert "small/1 was trained on other data: digits" in result.output
    assert (model / "behaviour.html").read_bytes() == before


def test_a_model_that_does_not_say_its_data_is_refused(tmp_path: Path) -> None:
    result = command("behaviour", "--quick", "--model", ToyNet().publish(tmp_path))
    assert result.exit_code == 1
    assert "toy/1: its manifest does not state its training data" in result.output


def test_folders_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = command("behaviour", "--quick", "--out", tmp_path / "file" / "out")
    assert result.exit_code == 1
    assert "cannot be written" in result.output
    result = command("behaviour", "--quick", "--model", tmp_path / "none" / "1")
    assert result.exit_code == 1
    assert "no such file" in result.output
    assert not (tmp_path / "none").exists()


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    result = command("behaviour", "--hidden", "many", "--out", tmp_path)
    assert result.exit_code == 2
    assert "--hidden: expected whole numbers" in result.output
    assert command("behaviour", "--seeds", "1", "--out", tmp_path).exit_code == 2
