"""Weights in a file beside the graphs: read once, verified, and no other file in their place."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto

from service.engine.masks import MaskCache
from service.engine.sampling import Sampling
from service.errors import InvalidModel
from service.loading.load import load_model
from service.model.manifest import MANIFEST, PREDICT_GRAPH, SAMPLE_GRAPH, WEIGHTS, sha256
from service.model.weights import private_copy
from tests.toy import ToyNet

Change = Callable[[ModelProto], None]


@pytest.fixture
def folder(toy: ToyNet, tmp_path: Path) -> Path:
    """The toy with all of its weights in one file."""
    folder = toy.publish(tmp_path / "models")
    places: dict[str, int] = {}
    content = bytearray()
    for name in (PREDICT_GRAPH, SAMPLE_GRAPH):
        model = onnx.load_model_from_string((folder / name).read_bytes())
        for tensor in model.graph.initializer:
            if tensor.name not in places:
                content += bytes(-len(content) % 64)
                places[tensor.name] = len(content)
                content += tensor.raw_data
            refer(tensor, {"offset": places[tensor.name], "length": len(tensor.raw_data)})
        replace(folder, name, model.SerializeToString())
    replace(folder, WEIGHTS, bytes(content))
    return folder


def refer(tensor: TensorProto, place: dict[str, int], location: str = WEIGHTS) -> None:
    tensor.ClearField("raw_data")
    del tensor.external_data[:]
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **place}.items():
        tensor.external_data.add(key=key, value=str(value))


def replace(folder: Path, name: str, content: bytes) -> None:
    """Write a file, with a digest that agrees."""
    (folder / name).write_bytes(content)
    fields = json.loads((folder / MANIFEST).read_text())
    fields["files"][name] = sha256(content)
    (folder / MANIFEST).write_text(json.dumps(fields))


def changed(folder: Path, change: Change) -> None:
    model = onnx.load_model_from_string((folder / PREDICT_GRAPH).read_bytes())
    change(model)
    replace(folder, PREDICT_GRAPH, model.SerializeToString())


def test_answers_are_those_of_weights_in_the_graphs(toy: ToyNet, folder: Path) -> None:
    apart, within = load_model(folder, MaskCache(0)), toy.engine()
    rows = {"input": toy.rows(7)}
    np.testing.assert_array_equal(apart.predict(rows).values, within.predict(rows).values)
    sampling = Sampling(20, seed=4)
    np.testing.assert_array_equal(apart.draw_all(rows, sampling), within.draw_all(rows, sampling))


def test_the_copy_is_deleted_and_the_file_may_change_afterwards(
    toy: ToyNet, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(copies))
    engine = load_model(folder, MaskCache(0))
    assert not list(copies.iterdir())
    rows = {"input": toy.rows(3)}
    before = engine.predict(rows).values
    with (folder / WEIGHTS).open("r+b") as file:
        file.write(bytes((folder / WEIGHTS).stat().st_size))
    np.testing.assert_array_equal(engine.predict(rows).values, before)


def test_the_copy_is_for_its_owner_alone(folder: Path) -> None:
    manifest = load_model(folder, MaskCache(0)).manifest
    with private_copy(manifest, folder, 2**20) as private:
        assert private is not None
        assert private.stat().st_mode & 0o077 == 0
        assert [path.name for path in private.iterdir()] == [WEIGHTS]


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_a_cut_file(folder: Path, size: int) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:size])
    with pytest.raises(InvalidModel, match=r"weights\.bin: is damaged: its SHA-256"):
        load_model(folder, MaskCache(0))


def test_weights_of_another_model(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[::-1])
    with pytest.raises(InvalidModel, match=r"weights\.bin: is damaged"):
        load_model(folder, MaskCache(0))


def test_a_missing_file(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    with pytest.raises(InvalidModel, match=r"weights\.bin: cannot be .*: No such file"):
        load_model(folder, MaskCache(0))


def test_other_weights_with_their_digest_fail_the_golden_answers(folder: Path) -> None:
    weights = np.frombuffer((folder / WEIGHTS).read_bytes(), np.float32)
    replace(folder, WEIGHTS, (weights * 1.5).astype(np.float32).tobytes())
    with pytest.raises(InvalidModel, match="golden"):
        load_model(folder, MaskCache(0))


def test_a_file_that_the_manifest_does_not_list(folder: Path) -> None:
    fields = json.loads((folder / MANIFEST).read_text())
    del fields["files"][WEIGHTS]
    (folder / MANIFEST).write_text(json.dumps(fields))
    with pytest.raises(InvalidModel, match=r"predict\.onnx: has weights in another file; expected all in this one$"):
        load_model(folder, MaskCache(0))


@pytest.mark.parametrize("location", ["golden.npz", "../weights.bin", "/etc/hostname", "./weights.bin", ""])
def test_no_other_file(folder: Path, location: str) -> None:
    changed(folder, lambda model: refer(model.graph.initializer[0], {"offset": 0, "length": 4}, location))
    with pytest.raises(InvalidModel, match=r"predict\.onnx: has weights in another file; expected .* weights\.bin"):
        load_model(folder, MaskCache(0))


def test_no_place_beyond_the_end(folder: Path) -> None:
    size = (folder / WEIGHTS).stat().st_size
    changed(folder, lambda model: refer(model.graph.initializer[0], {"offset": size - 511, "length": 512}))
    with pytest.raises(InvalidModel, match=rf"beyond the end of weights\.bin, which has {size} bytes"):
        load_model(folder, MaskCache(0))


@pytest.mark.parametrize(
    "place", [{}, {"offset": 0}, {"length": 512}, {"offset": -1, "length": 512}, {"offset": 0, "length": 10**30}]
)
def test_an_unclear_place(folder: Path, place: dict[str, int]) -> None:
    changed(folder, lambda model: refer(model.graph.initializer[0], place))
    with pytest.raises(InvalidModel, match=r"without offset and length in weights\.bin"):
        load_model(folder, MaskCache(0))


def test_a_place_named_twice(folder: Path) -> None:
    def add(model: ModelProto) -> None:
        model.graph.initializer[0].external_data.add(key="location", value=WEIGHTS)

    changed(folder, add)
    with pytest.raises(InvalidModel, match=r"without offset and length in weights\.bin"):
        load_model(folder, MaskCache(0))


def test_a_limit_of_size_counts_the_weights(folder: Path) -> None:
    size = sum(path.stat().st_size for path in folder.iterdir() if path.name != MANIFEST)
    load_model(folder, MaskCache(0), max_bytes=size)
    with pytest.raises(InvalidModel, match=f"has {size} bytes; DROPSERVE_MAX_MODEL_BYTES allows {size - 1}"):
        load_model(folder, MaskCache(0), max_bytes=size - 1)


def test_no_folder_for_the_copy(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(InvalidModel, match=r"weights\.bin: no folder for its copy; set TMPDIR: No such file"):
        load_model(folder, MaskCache(0))
