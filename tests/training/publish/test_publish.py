import stat
import threading
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from service.engine.engine import Engine
from service.engine.masks import MaskCache
from service.engine.network import Network
from service.errors import InvalidModel
from service.loading import golden
from service.loading.load import load_model
from service.model.manifest import GOLDEN, PREDICT_GRAPH, SAMPLE_GRAPH, Manifest, read_manifest, sha256
from service.model.runtime import Graph
from tests.toy import P, ToyNet
from training.errors import PublishFailed
from training.exporting.export import export
from training.exporting.verify import Verified, verify
from training.publish.publish import check_writable, next_version, publish


def toy_in_torch(toy: ToyNet) -> nn.Module:
    hidden, output = nn.Linear(toy.features, toy.hidden), nn.Linear(toy.hidden, toy.outputs)
    pairs = ((hidden.weight, toy.w0.T), (hidden.bias, toy.b0), (output.weight, toy.w1.T), (output.bias, toy.b1))
    for parameter, value in pairs:
        parameter.data = torch.from_numpy(value.copy())
    return nn.Sequential(OrderedDict(first=hidden, relu=nn.ReLU(), hidden=nn.Dropout(P), output=output))


def verified(toy: ToyNet) -> Verified:
    module, example = toy_in_torch(toy), (torch.from_numpy(toy.rows(3)),)
    return verify(module, export(module, example), example)


TOY = ToyNet()
DRAFT: Manifest = TOY.manifest()
FILES = {PREDICT_GRAPH, SAMPLE_GRAPH, GOLDEN}


@pytest.fixture(scope="module")
def graphs() -> Verified:
    return verified(TOY)


@pytest.fixture(scope="module")
def recorded(graphs: Verified) -> bytes:
    return golden_answers(graphs)


def golden_answers(graphs: Verified) -> bytes:
    engine = Engine(DRAFT, Network(Graph(graphs.predict), Graph(graphs.sample)), MaskCache(2**20))
    return golden.record(engine, {"input": TOY.rows(3)}, passes=4, seed=1)


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_what_is_published_can_be_served(tmp_path: Path, graphs: Verified, recorded: bytes) -> None:
    folder, manifest = publish(tmp_path / "models", DRAFT, graphs, recorded)
    assert folder == tmp_path / "models" / "toy" / "1"
    engine = load_model(folder, MaskCache(2**20))
    assert engine.manifest == manifest
    assert set(manifest.files) == {*FILES, "MODEL_CARD.md"}
    assert {path.name for path in folder.iterdir()} == {*manifest.files, "manifest.json"}


def test_plots_are_published_with_their_digests(tmp_path: Path, graphs: Verified, recorded: bytes) -> None:
    folder, manifest = publish(tmp_path, DRAFT, graphs, recorded, {"reliability.svg": b"<svg/>"})
    assert (folder / "reliability.svg").read_bytes() == b"<svg/>"
    assert manifest.files["reliability.svg"] == sha256(b"<svg/>")
    assert "](reliability.svg)" not in (folder / "MODEL_CARD.md").read_text()  # nothing was evaluated
    load_model(folder, MaskCache(2**20))
    (folder / "reliability.svg").write_bytes(b"<svg />")
    with pytest.raises(InvalidModel, match=r"reliability\.svg: is damaged"):
        load_model(folder, MaskCache(2**20))


def test_versions_count_up_from_the_highest(tmp_path: Path, graphs: Verified, recorded: bytes) -> None:
    (tmp_path / "toy" / "7").mkdir(parents=True)
    (tmp_path / "toy" / "notes").mkdir()
    folders = [publish(tmp_path, DRAFT, graphs, recorded)[0].name for _ in range(2)]
    assert folders == ["8", "9"]
    assert read_manifest(tmp_path / "toy" / "9").version == 9
    assert next_version(tmp_path / "toy") == 10
    assert next_version(tmp_path / "other") == 1


def test_a_model_that_does_not_load_leaves_nothing(tmp_path: Path, recorded: bytes) -> None:
    with pytest.raises(InvalidModel, match=r"golden\.npz"):
        publish(tmp_path, DRAFT, verified(ToyNet(seed=9)), recorded)
    assert everything_in(tmp_path) == []


def test_a_manifest_of_other_graphs_is_refused(tmp_path: Path, graphs: Verified, recorded: bytes) -> None:
    sites = (DRAFT.sites[0].model_copy(update={"p": 0.4}),)
    with pytest.raises(PublishFailed, match="must be those of the verified graphs"):
        publish(tmp_path, DRAFT.model_copy(update={"sites": sites}), graphs, recorded)
    assert everything_in(tmp_path) == []


def test_what_can_be_written_is_known_before(tmp_path: Path) -> None:
    check_writable(tmp_path / "new")
    assert everything_in(tmp_path) == ["new"]
    (tmp_path / "file").write_text("")
    with pytest.raises(PublishFailed, match=r"file: cannot be written: File exists"):
        check_writable(tmp_path / "file")


def test_the_new_name_is_on_the_disk(
    tmp_path: Path, graphs: Verified, recorded: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut the folder of a first version must be found in the folder of models."""
    synced: list[Path] = []
    monkeypatch.setattr("training.publish.publish._sync", synced.append)
    publish(tmp_path, DRAFT, graphs, recorded)
    assert synced[-2:] == [tmp_path, tmp_path / "toy"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, graphs: Verified, recorded: bytes) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(PublishFailed, match=r"models: cannot be written: File exists"):
        publish(tmp_path / "models", DRAFT, graphs, recorded)


def test_publishers_at_the_same_time_take_different_versions(tmp_path: Path, graphs: Verified, recorded: bytes) -> None:
    """All write, then all rename; each but one finds its number taken and takes the next."""
    count = 6
    start, taken = threading.Barrier(count), []

    def publish_one() -> None:
        start.wait()
        taken.append(publish(tmp_path, DRAFT, graphs, recorded)[0])

    threads = [threading.Thread(target=publish_one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(folder.name) for folder in taken) == list(range(1, count + 1))
    assert [read_manifest(folder).version for folder in taken] == [int(folder.name) for folder in taken]
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_another_user_may_read_it(tmp_path: Path, graphs: Verified, recorded: bytes) -> None:
    folder, _ = publish(tmp_path, DRAFT, graphs, recorded)
    for path in (folder.parent, folder):
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
