"""What is described of /v2 is there, and every example is true of the server that gives it."""

from typing import Any

import httpx
import pytest

from service.http.openapi.inference_protocol import OPERATIONS, Operation

HERE = {"name": "toy", "version": 2}


@pytest.fixture(scope="module")
def paths(client: httpx.Client) -> dict[str, Any]:
    described: dict[str, Any] = client.get("/openapi.json").json()["paths"]
    return described


@pytest.mark.parametrize("described", OPERATIONS, ids=lambda described: described.path)
def test_every_path_described_is_there(described: Operation, client: httpx.Client, paths: dict[str, Any]) -> None:
    assert described.method in paths[described.path]
    wrong = "POST" if described.method == "get" else "GET"
    assert client.request(wrong, described.path.format(**HERE)).status_code == 405


@pytest.mark.parametrize("described", [one for one in OPERATIONS if one.example], ids=lambda described: described.path)
def test_every_example_is_answered_with_its_example(
    described: Operation, client: httpx.Client, paths: dict[str, Any]
) -> None:
    operation = paths[described.path][described.method]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
    reply = client.request(described.method, described.path.format(**HERE), json=body)
    expected = operation["responses"]["200"]["content"]["application/json"]["example"]
    if described.example == "model":
        expected = expected | {"versions": ["1", "2"]}
    assert reply.json() == expected
