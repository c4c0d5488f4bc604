"""The folder of models: what is found, what is refused, which one answers, and how that changes."""

import asyncio
import gc
import json
import os
import shutil
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest

from service.engine.engine import Engine
from service.engine.masks import MaskCache
from service.errors import InvalidModel, NotReady, UnknownModel
from service.loading.load import load_model
from service.model.manifest import MANIFEST, PREDICT_GRAPH
from service.repository.catalogue import Version
from service.repository.folder import find_models, scan
from service.repository.repository import Repository
from service.repository.unloaded import Unloaded
from tests.toy import ToyNet


def load(folder: Path, **settings: Any) -> Repository:
    repository = Repository(folder, MaskCache(0), **settings)
    repository.refresh()
    return repository


def damage(model: Path) -> None:
    (model / PREDICT_GRAPH).write_bytes(b"damaged")


def states(repository: Repository) -> dict[str, str]:
    return {f"{name}/{version}": state for name, version, state, _ in repository.index()}


@pytest.fixture
def models(toy: ToyNet, tmp_path: Path) -> Path:
    """A folder with toy/1, to be changed."""
    toy.publish(tmp_path / "models")
    return tmp_path / "models"


def test_the_models_are_found_in_order_and_nothing_else(tmp_path: Path) -> None:
    for folder in ("b/10", "b/9", "a/1", ".hidden/1", "a/.1.tmp", "a/latest", "a/1.bak", "a/01", "a/0", "a/²", "a b/1"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "README.md").write_text("")
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / os.fsdecode(b"\xff")).mkdir()
    found = scan(tmp_path)
    assert [str(folder.relative_to(tmp_path)) for folder in found.versions] == ["a/1", "b/9", "b/10"]
    assert found.unlisted == {"loop": "cannot be listed: Too many levels of symbolic links"}
    assert {place: reason.partition(":")[0] for place, reason in found.odd.items()} == {
        "README.md": "is not a folder",
        "a b": "is not a model name",
        "\\udcff": "is not a model name",
        "dangling": "is a broken link",
        **dict.fromkeys(["a/0", "a/01", "a/1.bak", "a/latest", "a/²"], "is not a version"),
    }


def test_many_odd_entries_are_not_all_named(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"file-{number}").touch()
    assert len(scan(tmp_path).odd) == 100


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
def test_the_requested_model_is_found(
    published: Path, name: str | None, version: int | None, found: tuple[str, int]
) -> None:
    manifest = load(published).find(name, version).manifest
    assert (manifest.name, manifest.version) == found


def test_the_default_model_may_be_set(published: Path) -> None:
    assert load(published, default_model="yield").find().manifest.name == "yield"


def test_an_unknown_model_is_refused_with_the_known_ones(published: Path) -> None:
    with pytest.raises(UnknownModel, match="model: there is no model 'nope'; known models: toy, yield") as refusal:
        load(published).find("nope")
    assert refusal.value.details == {"field": "model", "expected": ["toy", "yield"]}


def test_an_unknown_version_is_refused_with_the_known_ones(published: Path) -> None:
    with pytest.raises(UnknownModel, match="version: model 'toy' has no version 3; known versions: 1, 2") as refusal:
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
    with pytest.raises(NotReady, match="being loaded"):
        repository.check_ready()
    assert repository.index() == []


def test_each_version_answers_as_soon_as_it_is_loaded(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default model is the first, and the highest version of each; the service is ready at the end."""
    repository = Repository(published, MaskCache(0), default_model="yield")
    seen: list[tuple[str, list[str]]] = []

    def watch(folder: Path, *args: Any, **options: Any) -> Engine:
        ready = [f"{entry.name}/{entry.version}" for entry in repository.index() if entry.state == "ready"]
        seen.append(("/".join(folder.parts[-2:]), ready))
        with pytest.raises(NotReady, match="being loaded"):
            repository.check_ready()
        return load_model(folder, *args, **options)

    monkeypatch.setattr("service.repository.repository.load_model", watch)
    repository.refresh()
    assert seen == [("yield/1", []), ("toy/2", ["yield/1"]), ("toy/1", ["toy/2", "yield/1"])]
    repository.check_ready()


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
    with pytest.raises(NotReady, match=r"toy/2 is not ready: .*predict\.onnx: is damaged"):
        repository.find("toy", 2)


def test_a_model_of_which_no_version_serves_is_not_ready(toy: ToyNet, published: Path, tmp_path: Path) -> None:
    models = shutil.copytree(published, tmp_path / "models")
    damage(toy.publish(models, name="other"))
    with pytest.raises(NotReady, match="no version of other is ready") as refusal:
        load(models).status()
    assert "predict.onnx: is damaged" in refusal.value.details["failures"]["other/1"]
    assert load(models).find("toy").manifest.version == 2


def test_an_unfinished_model_never_serves(toy: ToyNet, tmp_path: Path) -> None:
    (toy.publish(tmp_path) / MANIFEST).unlink()
    with pytest.raises(NotReady, match="no version of toy is ready") as refusal:
        load(tmp_path).find()
    assert "no such file" in refusal.value.details["failures"]["toy/1"]


def test_a_file_in_the_place_of_a_model_never_serves(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "1").write_text("not a folder")
    with pytest.raises(NotReady) as refusal:
        load(tmp_path).find()
    assert "cannot be read" in refusal.value.details["failures"]["toy/1"]


# which version answers by default


def test_a_pinned_version_answers(published: Path) -> None:
    repository = load(published, pins={"toy": 1})
    assert repository.find("toy").manifest.version == 1
    assert repository.find("toy", 2).manifest.version == 2
    repository.check_ready()


@pytest.mark.parametrize(
    ("pins", "reason"),
    [
        ({"toy": 7}, "'toy' is pinned to version 7, which is not ready; ready versions: 1, 2"),
        ({"nope": 1}, "the pinned model 'nope' is not among toy, yield"),
    ],
)
def test_a_pin_that_cannot_hold_is_not_ready(published: Path, pins: dict[str, int], reason: str) -> None:
    repository = load(published, pins=pins)
    with pytest.raises(NotReady, match=reason):
        repository.check_ready()


def test_a_pinned_version_that_goes_is_not_replaced_by_another(models: Path) -> None:
    ToyNet(seed=1).publish(models, version=2)
    repository = load(models, pins={"toy": 1})
    shutil.rmtree(models / "toy" / "1")
    repository.refresh()
    with pytest.raises(NotReady, match="pinned to version 1"):
        repository.find("toy")
    assert repository.find("toy", 2).manifest.version == 2


def test_a_model_that_comes_first_by_name_becomes_the_default_once_it_serves(models: Path, toy: ToyNet) -> None:
    repository = load(models)
    (models / "abc" / "1").mkdir(parents=True)
    repository.refresh()
    assert repository.find().manifest.name == "toy"
    shutil.rmtree(models / "abc")
    toy.publish(models, name="abc")
    repository.refresh()
    assert repository.find().manifest.name == "abc"


# what changes in the folder


def test_a_new_version_takes_over_and_the_old_one_stays(models: Path) -> None:
    repository = load(models)
    first = repository.find()
    ToyNet(seed=1).publish(models, version=2)
    repository.refresh()
    assert repository.find().manifest.version == 2
    assert repository.find("toy", 1) is first


def test_nothing_new_nothing_loaded(models: Path) -> None:
    repository = load(models)
    before = repository.find()
    (models / "toy" / "1" / PREDICT_GRAPH).touch()
    repository.refresh()
    assert repository.find() is before


def test_a_version_with_another_manifest_is_loaded_again(models: Path) -> None:
    repository = load(models)
    before = repository.find()
    shutil.rmtree(models / "toy" / "1")
    ToyNet(seed=9).publish(models)
    repository.refresh()
    assert repository.find() is not before


def test_a_version_that_has_gone_is_let_go(models: Path) -> None:
    ToyNet(seed=1).publish(models, version=2)
    repository = load(models)
    shutil.rmtree(models / "toy" / "2")
    repository.refresh()
    assert repository.find().manifest.version == 1
    with pytest.raises(UnknownModel):
        repository.find("toy", 2)


def test_what_replaces_a_version_and_is_damaged_leaves_the_old_one_serving(models: Path) -> None:
    repository = load(models)
    before = repository.find()
    shutil.rmtree(models / "toy" / "1")
    damage(ToyNet(seed=9).publish(models))
    repository.refresh()
    assert repository.find() is before
    assert "is damaged" in repository.status()["failures"]["toy/1"]
    assert states(repository) == {"toy/1": "ready"}


def test_a_copy_under_way_is_refused_until_it_is_whole(models: Path, tmp_path: Path) -> None:
    repository = load(models)
    source = ToyNet(seed=1).publish(tmp_path / "elsewhere", version=2)
    copy = models / "toy" / "2"
    copy.mkdir()
    (copy / MANIFEST).write_bytes((source / MANIFEST).read_bytes())
    for path in (path for path in source.iterdir() if path.name != MANIFEST):
        content = path.read_bytes()
        for part in (content[:100], content):
            (copy / path.name).write_bytes(part)
            assert repository.find().manifest.version == 1
            repository.refresh()
    assert repository.find().manifest.version == 2
    assert repository.status()["failures"] == {}


def test_a_damaged_newcomer_does_not_take_a_ready_service_out_of_rotation(models: Path, toy: ToyNet) -> None:
    repository = load(models)
    damage(toy.publish(models, name="other"))
    repository.refresh()
    assert "is damaged" in repository.status()["failures"]["other/1"]
    with pytest.raises(NotReady, match="no version of other is ready"):
        repository.find("other")


def test_a_folder_that_cannot_be_read_takes_nothing_away(models: Path, tmp_path: Path) -> None:
    repository = load(models)
    before = repository.find()
    models.rename(tmp_path / "away")
    repository.refresh()
    assert repository.find() is before
    assert repository.status()["failures"] == {str(models): "cannot be read: No such file or directory"}
    (tmp_path / "away").rename(models)
    repository.refresh()
    assert repository.find() is before
    assert repository.status()["failures"] == {}


def test_an_entry_of_no_use_is_named_and_the_others_serve(models: Path) -> None:
    (models / "toy" / "2").symlink_to("nowhere")
    (models / "toy" / "3").touch()
    (models / "toy" / "4").symlink_to(".")
    (models / "loop").symlink_to("loop")
    (models / "notes.txt").touch()
    repository = load(models)
    assert repository.models() == {"toy": [1]}
    failures = repository.status()["failures"]
    assert sorted(failures) == ["loop", "notes.txt", "toy/2", "toy/3", "toy/4"]
    with pytest.raises(NotReady, match="loop cannot be listed: Too many levels of symbolic links"):
        repository.find("loop")
    json.dumps(failures).encode()


def test_a_folder_that_may_not_be_listed_holds_up_no_other(tmp_path: Path, models: Path) -> None:
    """Neither at the start nor later; what served from it goes on."""
    (models / "locked" / "1").mkdir(parents=True)
    script = f"""
import os, shutil
from pathlib import Path
from service.engine.masks import MaskCache
from service.repository.repository import Repository
models = Path({str(models)!r})
repository = Repository(models, MaskCache(0))
def look():
    repository.refresh()
    failures = repository.catalogue.failures
    print(repository.models(), {{name: failures[name] for name in failures if "/" not in name}})
def lock(name, mode):
    os.chmod(models / name, mode)
    if os.getuid() == 0:
        os.chown(models / name, 0 if mode else 1, -1)
lock("locked", 0)
look()
shutil.copytree(models / "toy" / "1", models / "toy" / "2")
manifest = models / "toy" / "2" / "manifest.json"
manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 2').replace('"version":1', '"version":2'))
look()
lock("toy", 0)
look()
lock("toy", 0o700)
lock("locked", 0o700)
look()
"""
    done = subprocess.run([*without_privileges(), sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    locked, toy = ({name: "cannot be listed: Permission denied"} for name in ("locked", "toy"))
    assert [line for line in done.stdout.splitlines() if line.startswith("{")] == [
        f"{{'toy': [1]}} {locked}",
        f"{{'toy': [1, 2]}} {locked}",
        f"{{'toy': [1, 2]}} {locked | toy}",
        "{'locked': [], 'toy': [1, 2]} {}",
    ]


def without_privileges() -> list[str]:
    """What to run a command with, so that it may read only what its user may."""
    if os.getuid():
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root may read everything, and setpriv is not here")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    repository = load(tmp_path / "nowhere")
    with pytest.raises(NotReady, match=r"there is no model in .*nowhere: cannot be read: No such file"):
        repository.check_ready()


def test_a_mounted_volume_of_links(models: Path, tmp_path: Path, toy: ToyNet) -> None:
    """Kubernetes mounts `..data → ..2026_01_01` and a link to each entry of it, and swaps `..data`."""
    volume = tmp_path / "volume"
    (volume / "..first").mkdir(parents=True)
    models.joinpath("toy").rename(volume / "..first" / "toy")
    (volume / "..data").symlink_to("..first")
    (volume / "toy").symlink_to("..data/toy")
    repository = load(volume)
    assert repository.models() == {"toy": [1]}
    ToyNet(seed=1).publish(volume / "..second", version=2)
    (volume / "..new").symlink_to("..second")
    (volume / "..new").rename(volume / "..data")
    repository.refresh()
    assert repository.models() == {"toy": [2]}


# by request


def test_unload_and_load(models: Path) -> None:
    ToyNet(seed=1).publish(models, version=2)
    repository = load(models)
    asyncio.run(repository.unload("toy", 2))
    assert repository.find().manifest.version == 1
    assert repository.index()[1] == Version("toy", 2, "unavailable", "unloaded")
    with pytest.raises(NotReady, match="toy/2 is not ready: unloaded"):
        repository.find("toy", 2)
    asyncio.run(repository.load("toy", 2))
    assert repository.find().manifest.version == 2


def test_an_unloaded_default_model_is_not_ready_and_no_other_takes_its_place(published: Path) -> None:
    repository = load(published)
    asyncio.run(repository.unload("toy"))
    for ask in (repository.find, repository.check_ready, lambda: repository.find("toy")):
        with pytest.raises(NotReady, match="model 'toy' is unloaded"):
            ask()
    assert repository.find("yield").manifest.name == "yield"
    asyncio.run(repository.load("toy"))
    repository.check_ready()


def test_another_unloaded_model_leaves_the_service_ready(published: Path) -> None:
    repository = load(published)
    asyncio.run(repository.unload("yield"))
    assert repository.status()["models"] == {"toy": [1, 2]}


def test_what_is_published_of_an_unloaded_model_waits(models: Path) -> None:
    repository = load(models)
    asyncio.run(repository.unload("toy"))
    ToyNet(seed=1).publish(models, version=2)
    repository.refresh()
    assert states(repository) == {"toy/1": "unavailable", "toy/2": "unavailable"}
    asyncio.run(repository.load("toy", 2))
    assert states(repository) == {"toy/1": "unavailable", "toy/2": "ready"}
    asyncio.run(repository.load("toy"))
    assert states(repository) == {"toy/1": "ready", "toy/2": "ready"}


def test_loading_what_is_damaged_tells_why(models: Path) -> None:
    repository = load(models)
    damage(ToyNet(seed=1).publish(models, version=2))
    with pytest.raises(InvalidModel, match=r"toy/2: .*predict\.onnx: is damaged"):
        asyncio.run(repository.load("toy", 2))
    asyncio.run(repository.load("toy"))
    assert states(repository) == {"toy/1": "ready", "toy/2": "unavailable"}


def test_loading_a_model_of_which_nothing_can_be_served(models: Path) -> None:
    repository = load(models)
    damage(ToyNet(seed=1).publish(models, name="other"))
    with pytest.raises(InvalidModel, match=r"other/1: .*predict\.onnx: is damaged"):
        asyncio.run(repository.load("other"))


@pytest.mark.parametrize(
    ("name", "version"), [("nope", None), ("toy", 7), ("../toy", None), ("..", 1), ("a\0b", 1), ("a" * 300, 1)]
)
def test_what_is_not_there_cannot_be_loaded_or_unloaded(models: Path, name: str, version: int | None) -> None:
    repository = load(models, unloaded=Unloaded(models.parent / "state"))
    for command in (repository.load, repository.unload):
        with pytest.raises(UnknownModel):
            asyncio.run(command(name, version))
    assert not list((models.parent / "state").iterdir())


def test_loading_what_is_not_there_leaves_the_model_unloaded(models: Path) -> None:
    repository = load(models)
    asyncio.run(repository.unload("toy"))
    with pytest.raises(UnknownModel, match="no version 7"):
        asyncio.run(repository.load("toy", 7))
    ToyNet(seed=1).publish(models, version=2)
    repository.refresh()
    assert states(repository) == {"toy/1": "unavailable", "toy/2": "unavailable"}


def test_what_is_published_and_loaded_at_once_serves(models: Path) -> None:
    repository = load(models)
    asyncio.run(repository.unload("toy"))
    ToyNet(seed=1).publish(models, version=2)
    asyncio.run(repository.load("toy", 2))
    assert states(repository) == {"toy/1": "unavailable", "toy/2": "ready"}


def test_workers_share_what_was_unloaded(models: Path, tmp_path: Path) -> None:
    one, other = (load(models, unloaded=Unloaded(tmp_path / "state")) for _ in range(2))
    asyncio.run(one.unload("toy", 1))
    other.refresh()
    assert states(other) == {"toy/1": "unavailable"}
    asyncio.run(other.load("toy"))
    one.refresh()
    assert states(one) == {"toy/1": "ready"}


# memory and limits


def test_an_engine_without_references_is_freed(models: Path) -> None:
    repository = load(models)
    in_flight = repository.find()
    freed = weakref.ref(in_flight)
    asyncio.run(repository.unload("toy"))
    gc.collect()
    assert freed() is in_flight
    assert in_flight.predict({"input": ToyNet().rows(1)}).values.shape == (1, 3)
    del in_flight
    gc.collect()
    assert freed() is None


def test_a_replaced_engine_is_freed(models: Path) -> None:
    repository = load(models)
    freed = weakref.ref(repository.find())
    shutil.rmtree(models / "toy" / "1")
    ToyNet(seed=9).publish(models)
    repository.refresh()
    gc.collect()
    assert freed() is None


def test_too_large_a_model_is_refused(models: Path) -> None:
    size = sum(path.stat().st_size for path in (models / "toy" / "1").iterdir() if path.name != MANIFEST)
    assert states(load(models, max_bytes=size)) == {"toy/1": "ready"}
    repository = load(models, max_bytes=size - 1)
    assert repository.index()[0].reason.endswith(f"has {size} bytes; DROPSERVE_MAX_MODEL_BYTES allows {size - 1}")
