"""The OpenAPI description: valid, and every example in it is true of the server that gives it."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from openapi_spec_validator import validate
from starlette.routing import BaseRoute

from service.api import schemas
from service.config import Settings
from service.engine.masks import MaskCache
from service.http.openapi.description import Description
from service.repository.repository import open_repository
from tests.conftest import Serve
from tests.toy import ToyNet

Json = dict[str, Any]
MODELS = ("", "/v1/models/{name}", "/v1/models/{name}/versions/{version}")
PATHS = [f"{model}/{question}" for model in MODELS for question in ("predict", "uncertainty")]


@pytest.fixture(scope="module")
def api(client: httpx.Client) -> Json:
    return client.get("/openapi.json").json()  # type: ignore[no-any-return]


def test_every_path_is_described(api: Json) -> None:
    assert set(api["paths"]) >= {*PATHS, "/healthz", "/readyz", "/metrics", "/v1/models", "/v2/models/{name}/infer"}


@pytest.mark.parametrize("path", PATHS)
def test_every_example_is_answered_with_its_example(client: httpx.Client, api: Json, path: str) -> None:
    operation = api["paths"][path]["post"]
    example = operation["requestBody"]["content"]["application/json"]["example"]
    expected = operation["responses"]["200"]["content"]["application/json"]["example"]
    response = client.post(path.format(name="toy", version=2), json=example)
    assert response.status_code == 200
    assert response.json() == expected


@pytest.mark.parametrize("path", PATHS)
def test_every_refusal_is_described(api: Json, path: str) -> None:
    responses = api["paths"][path]["post"]["responses"]
    assert set(responses) == {*("200", "400", "404", "408", "413", "415", "422", "429", "431", "503", "504")}
    for status, response in responses.items():
        if status != "200":
            assert response["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorReply")


@pytest.mark.parametrize("schema", ["PredictBody", "UncertaintyBody", "ClassSpread", "RegressionSpread"])
def test_every_field_has_a_description(api: Json, schema: str) -> None:
    described = api["components"]["schemas"][schema]["properties"]
    assert set(described) == set(getattr(schemas, schema).model_fields)
    for name, field in described.items():
        if name != "deterministic":  # its own schema says it
            assert field["description"]


def test_the_page_needs_nothing_from_elsewhere(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text


def test_it_is_described_while_no_model_is_ready(serve: Serve, tmp_path: Any) -> None:
    with serve(models=tmp_path) as client:
        api = client.get("/openapi.json").json()
        validate(api)
        assert "/predict" in api["paths"]


def test_it_is_made_by_a_thread_and_once_as_long_as_the_same_models_serve(toy: ToyNet, tmp_path: Path) -> None:
    toy.publish(tmp_path)
    settings = Settings(models=tmp_path)
    repository = open_repository(settings, MaskCache(0))
    repository.refresh()
    makers: list[threading.Thread] = []

    class Watched(FastAPI):
        @property
        def routes(self) -> list[BaseRoute]:
            makers.append(threading.current_thread())
            return super().routes

    async def ask() -> None:
        description = Description(Watched(title="x"), repository, settings)
        makers.clear()
        first, *others = await asyncio.gather(*(description.content() for _ in range(3)))
        assert all(other is first for other in [*others, await description.content()])
        assert makers
        assert threading.main_thread() not in makers
        ToyNet(seed=1).publish(tmp_path, version=2)
        await asyncio.to_thread(repository.refresh)
        assert b'"example":2' in await description.content()
        assert b'"example":2' not in first

    asyncio.run(ask())


def test_the_paths_of_the_examples_exist(client: httpx.Client) -> None:
    """/docs offers /v1/models/digits/versions/1 whatever is served: «try it out» gives 404 for another model."""
    api = client.get("/openapi.json").json()
    for path, operations in api["paths"].items():
        post = operations.get("post", {})
        media = post.get("requestBody", {}).get("content", {}).get("application/json", {})
        if "example" in media:
            names = {parameter["name"]: parameter["example"] for parameter in post.get("parameters", [])}
            assert client.post(path.format(**names), json=media["example"]).status_code == 200


@pytest.mark.parametrize("limits", [{"max_samples": 10}, {"max_row_samples": 50}])
def test_low_limits_are_kept_by_the_examples(serve: Serve, published: Path, limits: dict[str, int]) -> None:
    with serve(models=published, **limits) as client:
        described = client.get("/openapi.json")
        assert described.status_code == 200
        body = described.json()["paths"]["/uncertainty"]["post"]["requestBody"]["content"]["application/json"][
            "example"
        ]
        assert client.post("/uncertainty", json=body).status_code == 200


def test_with_keys_the_open_description_tells_nothing_of_the_models(
    serve: Serve, published: Path, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("alice infer " + "0" * 64 + "\n")
    with serve(models=published, api_keys=tmp_path / "keys") as client:
        described = client.get("/openapi.json").text
    assert "yield" not in described
    assert '"toy"' not in described
