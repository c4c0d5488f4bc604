"""The folder of models: what is found, what is refused, and which one answers."""

import shutil
from pathlib import Path

import pytest

from service.errors import NotReady, UnknownModel
from service.manifest import MANIFEST, PREDICT_GRAPH
from service.masks import MaskCache
from service.repository import Repository, find_models
from tests.toy import ToyNet


def load(folder: Path, default_model: str | None = None) -> Repository:
    repository = Repository(folder, MaskCache(0), default_model=default_model)
    repository.load_all()
    return repository


def damage(model: Path) -> None:
    (model / PREDICT_GRAPH).write_bytes(b"damaged")


def test_the_models_are_found_in_order_and_nothing_else(tmp_path: Path) -> None:
    for folder in ("b/10", "b/9", "a/1", ".hidden/1", "a/.1.tmp", "a/latest", "a/1.bak", "a b/1"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "README.md").write_text("")
    assert [str(folder.relative_to(tmp_path)) for folder in find_models(tmp_path)] == ["a/1", "b/9", "b/10"]


def test_no_folder_no_models(tmp_path: Path) -> None:
    assert not list(find_models(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("name", "version", "found"),
    [
        (None, None, ("toy", 2)),
        ("toy", None, ("toy", 2)),
        ("toy", 1, ("toy", 1)),
        (None, 1, ("toy", 1)),
        ("yield", None, ("yield", 1)),
    ],
)
def test_the_model_asked_for(published: Path, name: str | None, version: int | None, found: tuple[str, int]) -> None:
    manifest = load(published).find(name, version).manifest
    assert (manifest.name, manifest.version) == found


def test_the_default_model_may_be_set(published: Path) -> None:
    assert load(published, default_model="yield").find().manifest.name == "yield"


def test_an_unknown_model_is_told_the_known(published: Path) -> None:
    with pytest.raises(UnknownModel, match="model: there is no model 'nope'; there are: toy, yield") as refusal:
        load(published).find("nope")
    assert refusal.value.details == {"field": "model", "expected": ["toy", "yield"]}


def test_an_unknown_version_is_told_the_known(published: Path) -> None:
    with pytest.raises(UnknownModel, match="version: model 'toy' has no version 3; it has: 1, 2") as refusal:
        load(published).find("toy", 3)
    assert refusal.value.details == {"field": "version", "expected": [1, 2]}


def test_the_status_names_what_serves(published: Path) -> None:
    assert load(published).status() == {
        "status": "ready",
        "default_model": "toy",
        "models": {"toy": [1, 2], "yield": [1]},
        "failures": {},
    }


def test_nothing_is_ready_before_it_is_loaded(published: Path) -> None:
    repository = Repository(published, MaskCache(0))
    with pytest.raises(NotReady, match="being loaded"):
        repository.find()


def test_an_empty_folder_is_not_ready(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match=f"no model in {tmp_path}; publish one with"):
        load(tmp_path).status()


def test_a_default_model_that_is_not_there_is_not_ready(published: Path) -> None:
    with pytest.raises(NotReady, match="default model 'nope' is not among toy, yield"):
        load(published, default_model="nope").status()


def test_a_damaged_version_is_named_and_the_one_before_serves(published: Path, tmp_path: Path) -> None:
    models = shutil.copytree(published, tmp_path / "models")
    damage(models / "toy" / "2")
    repository = load(models)
    assert repository.find("toy").manifest.version == 1
    status = repository.status()
    assert status["models"]["toy"] == [1]
    assert list(status["failures"]) == ["toy/2"]
    assert "predict.onnx: is damaged" in status["failures"]["toy/2"]
    with pytest.raises(UnknownModel):
        repository.find("toy", 2)


def test_a_model_of_which_no_version_serves_is_not_ready(toy: ToyNet, published: Path, tmp_path: Path) -> None:
    models = shutil.copytree(published, tmp_path / "models")
    damage(toy.publish(models, name="other"))
    with pytest.raises(NotReady, match="no version of other can be served") as refusal:
        load(models).status()
    assert "predict.onnx: is damaged" in refusal.value.details["failures"]["other/1"]


def test_an_unfinished_model_never_serves(toy: ToyNet, tmp_path: Path) -> None:
    (toy.publish(tmp_path) / MANIFEST).unlink()
    with pytest.raises(NotReady, match=r"no model can be served: .*no such file") as refusal:
        load(tmp_path).find()
    assert "no such file" in refusal.value.details["failures"]["toy/1"]


def test_a_file_in_the_place_of_a_model_never_serves(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "1").write_text("not a folder")
    with pytest.raises(NotReady) as refusal:
        load(tmp_path).find()
    assert "cannot be read" in refusal.value.details["failures"]["toy/1"]
