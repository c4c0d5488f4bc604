"""A service that is reached below a path prefix which its proxy hands on."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.config import Settings
from service.http.app import create_app
from tests.conftest import running_server

PREFIX = "/a/ml"
PATHS = ["/", "/status", "/docs", "/openapi.json", "/ui/js/main.js", "/healthz", "/metrics", "/v1/models", "/v2"]


@pytest.fixture(scope="module")
def prefixed(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """With a slash too many, as people write it."""
    with running_server(
        create_app(Settings(models=published, root_path=f"{PREFIX}/", max_body_bytes=10_000))
    ) as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
def test_all_is_there_below_the_prefix_and_without_it(prefixed: httpx.Client, path: str) -> None:
    """Health checks ask the service itself, past the proxy."""
    for url in (path, PREFIX + path):
        assert prefixed.get(url).status_code == 200


@pytest.mark.parametrize("question", ["predict", "v1/models/toy/uncertainty"])
def test_questions_are_answered_below_the_prefix(prefixed: httpx.Client, question: str) -> None:
    body = {"inputs": [[1, 2, 3, 4]]}
    assert prefixed.post(f"{PREFIX}/{question}", json=body).json() == prefixed.post(f"/{question}", json=body).json()


def test_bodies_below_the_prefix_have_the_same_limit(prefixed: httpx.Client) -> None:
    chunks = iter([b" " * 20_000])
    answer = prefixed.post(f"{PREFIX}/predict", content=chunks, headers={"content-type": "application/json"})
    assert answer.status_code == 413


def test_the_bare_prefix_leads_to_the_page_below_it(prefixed: httpx.Client) -> None:
    redirect = prefixed.get(PREFIX)
    assert (redirect.status_code, redirect.headers["location"]) == (307, "ml/")
    page = prefixed.get(PREFIX, follow_redirects=True)
    assert str(page.url).endswith(f"{PREFIX}/")
    assert "playground" in page.text


@pytest.mark.parametrize("path", [f"{PREFIX}x", "/a", f"{PREFIX}{PREFIX}/", "/ml/", f"/x{PREFIX}/"])
def test_what_only_looks_like_the_prefix_is_not_there(prefixed: httpx.Client, path: str) -> None:
    assert prefixed.get(path).status_code == 404


def test_the_description_leads_back_below_any_prefix(prefixed: httpx.Client) -> None:
    """By a URL relative to its own; `tests/browser` tries it in the page."""
    (server,) = prefixed.get(f"{PREFIX}/openapi.json").json()["servers"]
    described = httpx.URL(f"https://example.org{PREFIX}/openapi.json")
    assert str(described.join(server["url"])) == f"https://example.org{PREFIX}/"


def test_keys_are_required_below_the_prefix_too(published: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("alice infer " + "0" * 64 + "\n")
    settings = Settings(models=published, root_path=PREFIX, api_keys=tmp_path / "keys")
    with running_server(create_app(settings)) as client:
        for path in ("/v1/models", "/metrics", "/v1/models/toy/unload"):
            assert client.post(PREFIX + path).status_code == client.post(path).status_code == 401
        assert client.get(f"{PREFIX}/docs").status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/ui/js/main.js", "/static-offline-docs/swagger-ui.css", "/healthz"])
def test_a_server_may_know_the_prefix_too(published: Path, path: str) -> None:
    """As Ray Serve does of the `route_prefix` of an application."""
    app = create_app(Settings(models=published, root_path=PREFIX))

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app, root_path=PREFIX)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.get(PREFIX + path)

    assert asyncio.run(get()).status_code == 200
