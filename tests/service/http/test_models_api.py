"""The routes that tell of the models and manage them."""

import http.client
import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.access.keys import needed_scope
from service.api import schemas
from service.http.models_api import EXCLUDED
from service.model.manifest import PREDICT_GRAPH, Manifest, read_manifest
from tests.conftest import Serve
from tests.service.conftest import refusal
from tests.toy import Floats, ToyNet

ROWS = [[0.3, -0.2, 1.0, 0.5]]


@pytest.fixture
def models(published: Path, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return shutil.copytree(published, tmp_path / "models")


def states(response: httpx.Response) -> dict[int, str]:
    assert response.status_code == 200, response.text
    state = schemas.ModelState.model_validate_json(response.content, strict=True)
    return {version.version: version.state for version in state.versions}


def test_all_models_are_listed(client: httpx.Client) -> None:
    listed = client.get("/v1/models")
    assert listed.status_code == 200
    schemas.ModelList.model_validate_json(listed.content, strict=True)

    def ready(version: int) -> dict[str, Any]:
        return {"version": version, "state": "ready", "reason": ""}

    assert listed.json() == {
        "default_model": "toy",
        "models": [
            {"model": "toy", "default_version": 2, "versions": [ready(1), ready(2)]},
            {"model": "yield", "default_version": 1, "versions": [ready(1)]},
        ],
    }


@pytest.mark.parametrize(
    ("path", "name", "version"),
    [("toy", "toy", 2), ("toy/versions/1", "toy", 1), ("toy/versions/2", "toy", 2), ("yield", "yield", 1)],
)
def test_a_model_tells_of_itself(client: httpx.Client, published: Path, path: str, name: str, version: int) -> None:
    answer = client.get(f"/v1/models/{path}")
    shown = schemas.ModelDetail.model_validate_json(answer.content).model_dump(mode="json")
    assert shown == answer.json()
    manifest = read_manifest(published / name / str(version)).model_dump(mode="json")
    assert {field: shown[field] for field in manifest if field not in EXCLUDED} == {
        field: value for field, value in manifest.items() if field not in EXCLUDED
    }
    assert (shown["model"], shown["version"]) == (name, version)


@pytest.mark.parametrize(("path", "version"), [("toy", 2), ("toy/versions/1", 1), ("yield", 1)])
def test_a_model_returns_example_rows(client: httpx.Client, path: str, version: int) -> None:
    reply = client.get(f"/v1/models/{path}/examples")
    shown = schemas.Examples.model_validate_json(reply.content)
    assert (shown.model, shown.version) == (path.partition("/")[0], version)
    rows = reply.json()["inputs"]
    assert rows == pytest.approx(ToyNet().rows(5), rel=1e-6)
    assert len(json.dumps(rows[0])) < 60  # as many digits as float32 has
    answer = client.post(f"/v1/models/{path}/predict", json={"inputs": rows})
    assert len(answer.json()["predictions"]) == 5


def test_examples_have_categories_by_name(own: httpx.Client, models: Path) -> None:
    Towns().publish(models, name="towns", categories={"x1": ("Oslo", "Rome")})
    assert states(own.post("/v1/models/towns/load")) == {1: "ready"}
    rows = own.get("/v1/models/towns/examples").json()["inputs"]
    assert [row[1] for row in rows] == ["Oslo", "Rome", "Oslo", "Rome", "Oslo"]
    assert own.post("/v1/models/towns/predict", json={"inputs": rows}).status_code == 200


class Towns(ToyNet):
    """Its second feature is one of two towns."""

    def rows(self, count: int, seed: int = 1) -> Floats:
        rows = super().rows(count, seed)
        rows[:, 1] = np.arange(count) % 2
        return rows


def test_each_field_of_the_manifest_is_public_or_excluded() -> None:
    shown = set(schemas.ModelDetail.model_fields) - set(schemas.ModelState.model_fields)
    assert shown == set(Manifest.model_fields) - EXCLUDED


def test_the_training_of_a_model_is_not_public(own: httpx.Client, models: Path) -> None:
    ToyNet().publish(models, version=3, training={"data": "/home/someone/secret.csv"}, libraries={"torch": "2.9"})
    assert states(own.post("/v1/models/toy/load"))[3] == "ready"
    assert "secret" not in own.get("/v1/models/toy").text
    assert "torch" not in own.get("/v1/models/toy").text


def test_the_evaluation_is_returned(own: httpx.Client, models: Path) -> None:
    figures = {"deterministic": {"accuracy": 0.5}, "mc": {"accuracy": 0.6}}
    ToyNet().publish(models, version=3, evaluation=figures)
    assert states(own.post("/v1/models/toy/load"))[3] == "ready"
    assert own.get("/v1/models/toy").json()["evaluation"] == figures


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("nope", 404, "unknown_model"),
        ("toy/versions/7", 404, "unknown_model"),
        ("toy/versions/0", 422, "invalid_input"),
        ("toy/versions/one", 422, "invalid_input"),
        ("..%2f..%2fetc%2fpasswd/versions/1", 404, "unknown_path"),
    ],
)
def test_what_is_not_there(client: httpx.Client, method: str, path: str, status: int, code: str) -> None:
    commands = ["", "/examples"] if method == "GET" else ["/load", "/unload"]
    for command in commands:
        refusal(client.request(method, f"/v1/models/{path}{command}"), status, code)


@pytest.mark.parametrize("command", ["load", "unload"])
@pytest.mark.parametrize("name", ["%2e%2e", "%2e", "..", "a%00b", "a" * 300, "a%0ab", "toy%401", "%ff", "%25"])
def test_no_name_reaches_the_file_system(
    serve: Serve, published: Path, tmp_path: Path, name: str, command: str
) -> None:
    """Sent as they are: a client would tidy such a path."""
    with serve(models=published, state=tmp_path / "state", watch=False) as client:
        before = list(tmp_path.rglob("*"))
        for path in (name, f"{name}/versions/1"):
            with closing(http.client.HTTPConnection(client.base_url.host, client.base_url.port or 80)) as connection:
                connection.request("POST", f"/v1/models/{path}/{command}")
                answer = connection.getresponse()
                assert answer.status == 404
                assert b"unknown_" in answer.read()
        assert list(tmp_path.rglob("*")) == before


def test_unload_and_load_a_version(own: httpx.Client) -> None:
    assert states(own.post("/v1/models/toy/versions/2/unload")) == {1: "ready", 2: "unavailable"}
    assert own.post("/predict", json={"inputs": ROWS}).json()["version"] == 1
    assert "toy/2 is not ready: unloaded" in refusal(own.get("/v1/models/toy/versions/2"), 503, "not_ready")
    refusal(own.post("/v1/models/toy/versions/2/predict", json={"inputs": ROWS}), 503, "not_ready")
    assert states(own.post("/v1/models/toy/versions/2/load")) == {1: "ready", 2: "ready"}
    assert own.post("/predict", json={"inputs": ROWS}).json()["version"] == 2


def test_unloading_the_default_model_leaves_the_process_and_the_others(own: httpx.Client) -> None:
    assert states(own.post("/v1/models/toy/unload")) == {1: "unavailable", 2: "unavailable"}
    assert "'toy' is unloaded" in refusal(own.get("/readyz"), 503, "not_ready")
    assert "'toy' is unloaded" in refusal(own.post("/predict", json={"inputs": ROWS}), 503, "not_ready")
    assert own.get("/healthz").status_code == 200
    assert own.post("/v1/models/yield/predict", json={"inputs": ROWS}).status_code == 200
    assert own.get("/v1/models").json()["models"][0]["default_version"] is None
    assert states(own.post("/v1/models/toy/load")) == {1: "ready", 2: "ready"}
    assert own.get("/readyz").status_code == 200


def test_a_damaged_version_is_refused_with_the_reason(own: httpx.Client, models: Path) -> None:
    folder = ToyNet(seed=3).publish(models, version=3)
    good = (folder / PREDICT_GRAPH).read_bytes()
    (folder / PREDICT_GRAPH).write_bytes(b"damaged")
    message = refusal(own.post("/v1/models/toy/versions/3/load"), 503, "invalid_model")
    assert "toy/3" in message
    assert "predict.onnx: is damaged" in message
    assert own.post("/predict", json={"inputs": ROWS}).json()["version"] == 2
    assert "is damaged" in own.get("/readyz").json()["failures"]["toy/3"]
    (folder / PREDICT_GRAPH).write_bytes(good)
    assert states(own.post("/v1/models/toy/versions/3/load"))[3] == "ready"
    assert own.get("/readyz").json()["failures"] == {}


def test_new_models_are_found_by_a_refresh(own: httpx.Client, models: Path) -> None:
    ToyNet().publish(models, name="new")
    shutil.rmtree(models / "yield")
    listed = own.post("/v1/models/refresh")
    assert [model["model"] for model in listed.json()["models"]] == ["new", "toy"]
    assert listed.json() == own.get("/v1/models").json()


def test_a_pinned_version_is_the_default_one(serve: Serve, published: Path) -> None:
    with serve(models=published, pins={"toy": 1}) as client:
        assert client.get("/v1/models").json()["models"][0]["default_version"] == 1
        assert client.get("/v1/models/toy").json()["version"] == 1
        assert client.post("/predict", json={"inputs": ROWS}).json()["version"] == 1


def test_only_an_administrator_changes_what_serves(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()["paths"]
    commands = {path for path in described if path.startswith("/v1") and path.endswith(("load", "refresh"))}
    assert len(commands) == 5
    assert {needed_scope(path) for path in commands} == {"admin"}
    assert {needed_scope(path) for path in described if path.startswith("/v1/models") and path not in commands} == {
        "infer"
    }


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/v1/models", "get"),
        ("/v1/models/refresh", "post"),
        ("/v1/models/{name}", "get"),
        ("/v1/models/{name}/versions/{version}", "get"),
        ("/v1/models/{name}/unload", "post"),
        ("/v1/models/{name}/load", "post"),
        ("/v1/models/{name}/versions/{version}/load", "post"),
    ],
)
def test_the_examples_are_what_is_answered(own: httpx.Client, path: str, method: str) -> None:
    operation = own.get("/openapi.json").json()["paths"][path][method]
    answer = own.request(method, path.format(name="toy", version=2))
    assert answer.json() == operation["responses"]["200"]["content"]["application/json"]["example"]
