"""The manifest: read as written, and refused with the field at fault."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.errors import InvalidModel
from service.model.manifest import (
    GOLDEN,
    MANIFEST,
    PREDICT_GRAPH,
    Manifest,
    read_file,
    read_manifest,
    write_manifest,
)
from tests.toy import ToyNet


@pytest.fixture
def folder(toy: ToyNet, tmp_path: Path) -> Path:
    return toy.publish(tmp_path)


def change(folder: Path, **changes: Any) -> None:
    """Rewrite parts of the manifest's JSON."""
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_was_written_is_read(toy: ToyNet, tmp_path: Path) -> None:
    folder = tmp_path / "toy" / "1"
    folder.mkdir(parents=True)
    manifest = toy.manifest(
        description="höher",
        conformal=({"coverage": 0.9, "quantile": 0.4},),
        abstention=({"error_rate": 0.01, "threshold": 0.3, "coverage": 0.8},),
        evaluation={"deterministic": {"accuracy": 0.97}},
        seen=[{"lowest": 0, "median": 1.5, "highest": 16}],
        training_data={"name": "digits", "sha256": "0" * 64, "rows": 1000},
        training={"hidden": [64], "epochs": 3},
    )
    write_manifest(manifest, folder)
    assert read_manifest(folder) == manifest


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"temprature": 1.0}, "temprature", "Extra inputs"),
        ({"schema_version": 3}, "schema_version", "Input should be 2"),
        ({"temperature": 0}, "temperature", "greater than 0"),
        ({"temperature": "warm"}, "temperature", "valid number"),
        ({"name": "../toy"}, "name", "pattern"),
        ({"name": ""}, "name", "pattern"),
        ({"version": 0}, "version", "greater than or equal to 1"),
        ({"task": "ranking"}, "task", "'classification' or 'regression'"),
        ({"inputs": []}, "inputs", "at least 1 item"),
        ({"inputs": [{"name": "x", "dtype": "float16", "shape": [4]}]}, "inputs.0.dtype", "'float32'"),
        ({"inputs": [{"name": "x", "dtype": "float32", "shape": [0]}]}, "inputs.0.shape.0", "greater than or equal"),
        (
            {"inputs": [{"name": "x", "dtype": "int64", "shape": [4], "ranges": [{"lowest": 2, "highest": 1}]}]},
            "inputs.0.ranges.0",
            "2 is more than 1",
        ),
        (
            {"inputs": [{"name": "x", "dtype": "int64", "shape": [4], "ranges": [{"lowest": 0}] * 3}]},
            "inputs.0",
            "one entry or 4, not 3",
        ),
        ({"sites": []}, "sites", "at least 1 item"),
        ({"sites": [{"name": "h", "kind": "dropout", "p": 1.0, "shape": [4]}]}, "sites.0.p", "less than 1"),
        ({"sites": [{"name": "h", "kind": "dropout", "p": -0.1, "shape": [4]}]}, "sites.0.p", "greater than or equal"),
        ({"seen": [{"lowest": 0, "median": 1, "highest": 2}] * 3}, "manifest", "one entry or 4, not 3"),
        ({"noise": {"std": 0}}, "noise.std", "greater than 0"),
        ({"noise": {"learned": True, "scale": 0}}, "noise.scale", "greater than 0"),
        ({"noise": {"learned": False}}, "noise.learned", "Input should be True"),
        ({"noise": {"learned": True, "std": 1}}, "noise.std", "Extra inputs"),
        ({"noise": 0.3}, "noise", "should be an object"),
        ({"task": "regression", "labels": [], "noise": {"learned": True}}, "manifest", "must be even"),
        ({"labels": ["a", "b"]}, "manifest", "names 2 classes, but the output has 3"),
        ({"labels": ["a", "a", "b"]}, "manifest", "different names"),
        ({"output": {"name": "o", "dtype": "float32", "shape": [3, 2]}}, "manifest", "must be one number"),
        ({"files": {}}, "manifest", f"no digest for {PREDICT_GRAPH}"),
        ({"files": {"../golden.npz": "0" * 64}}, "files", "pattern"),
        ({"files": {GOLDEN: "abc"}}, "files", "pattern"),
    ],
)
def test_a_wrong_field_is_named(folder: Path, changes: dict[str, Any], field: str, reason: str) -> None:
    change(folder, **changes)
    with pytest.raises(InvalidModel, match=re.escape(reason)) as refusal:
        read_manifest(folder)
    assert refusal.value.details["file"] == MANIFEST
    assert refusal.value.details["field"].startswith(field)
    assert refusal.value.message.startswith(f"{folder / MANIFEST}: {field}")


def test_a_manifest_of_schema_1_goes_on_loading(folder: Path) -> None:
    manifest = read_manifest(folder)
    change(folder, schema_version=1, inputs=[{"name": "input", "dtype": "float32", "shape": [4]}])
    assert read_manifest(folder) == manifest


def test_a_missing_field_is_named(folder: Path) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    del content["sites"]
    (folder / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(InvalidModel, match="sites: Field required"):
        read_manifest(folder)


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
def test_numbers_are_finite(folder: Path, value: str) -> None:
    path = folder / MANIFEST
    path.write_text(path.read_text().replace('"temperature": 1.5', f'"temperature": {value}'))
    with pytest.raises(InvalidModel, match=r"temperature: .*finite"):
        read_manifest(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}"])
def test_what_is_no_manifest_is_refused(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(InvalidModel, match=re.escape(str(folder / MANIFEST))):
        read_manifest(folder)


def test_no_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match="no such file"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("place", ["toy/2", "other/1"])
def test_a_model_in_the_wrong_place_is_refused(folder: Path, tmp_path: Path, place: str) -> None:
    moved = tmp_path / place
    moved.parent.mkdir(exist_ok=True)
    folder.rename(moved)
    with pytest.raises(InvalidModel, match=f"is of toy/1, the folder is {place}"):
        read_manifest(moved)


def test_a_file_is_read_when_its_digest_agrees(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert read_file(manifest, folder, PREDICT_GRAPH) == (folder / PREDICT_GRAPH).read_bytes()


def test_a_damaged_file_is_refused(folder: Path) -> None:
    (folder / PREDICT_GRAPH).write_bytes(b"something else")
    with pytest.raises(InvalidModel, match=r"predict\.onnx: is damaged: its SHA-256 is [0-9a-f]{64}") as refusal:
        read_file(read_manifest(folder), folder, PREDICT_GRAPH)
    assert refusal.value.details == {"file": PREDICT_GRAPH}


def test_a_manifest_cannot_be_changed(manifest: Manifest) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        manifest.temperature = 2.0  # type: ignore[misc]
