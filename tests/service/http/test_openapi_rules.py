"""Rules for the OpenAPI description, so that linters pass it and generators make clients of it whose types are right.

They say what `redocly lint`, Spectral's `spectral:oas` and generators of clients want; `make clients` runs those.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from service.access.keys import needed_scope
from service.config import Settings
from service.http.app import create_app
from service.http.openapi.operations import COMPONENT
from tests.conftest import running_server

Json = dict[str, Any]

OPERATIONS = {
    *(f"{question}{end}" for question in ("predict", "uncertainty") for end in ("", "_of_model", "_of_version")),
    *("list_models", "refresh_models"),
    *(f"{verb}_{thing}" for verb in ("get", "load", "unload") for thing in ("model", "version")),
    *(
        f"get_{thing}_{what}"
        for thing in ("model", "version")
        for what in ("examples", "files", "behaviour", "card", "plot")
    ),
    *("list_review_rows", "get_review_row", "label_review_row"),
    *("get_liveness", "get_readiness", "get_metrics"),
    *("oip_server_metadata", "oip_server_live", "oip_server_ready", "oip_repository_index"),
    *(f"oip_{thing}_{what}" for thing in ("model", "version") for what in ("metadata", "ready", "infer")),
    *("oip_load_model", "oip_unload_model"),
}
"""Generated clients name their functions so: to rename one breaks their callers."""


class Place(NamedTuple):
    """An operation and where it stands."""

    path: str
    method: str
    operation: Json


@pytest.fixture(scope="module", params=["open", "keys"])
def api(request: pytest.FixtureRequest, published: Path, tmp_path_factory: pytest.TempPathFactory) -> Json:
    """Of a service with all that is optional."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "keys").write_text("alice infer " + "0" * 64 + "\n")
    keys = folder / "keys" if request.param == "keys" else None
    settings = Settings(models=published, prediction_log=folder / "log", api_keys=keys)
    with running_server(create_app(settings)) as client:
        return client.get("/openapi.json").json()  # type: ignore[no-any-return]


@pytest.fixture
def places(api: Json) -> list[Place]:
    return [Place(path, method, made) for path, methods in api["paths"].items() for method, made in methods.items()]


def walk(node: Any) -> Iterator[Json]:
    """All objects of a description."""
    if isinstance(node, dict):
        yield node
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from walk(part)


def test_it_is_valid(api: Json) -> None:
    validate(api)


def test_the_document_has_contact_and_server(api: Json) -> None:
    assert {"title", "version", "summary", "description", "license", "contact"} <= set(api["info"])
    assert api["servers"]
    assert not any(server["url"].endswith("/") for server in api["servers"])


def test_names_of_operations_are_those_that_clients_know(places: list[Place]) -> None:
    assert Counter(place.operation["operationId"] for place in places) == Counter(OPERATIONS)


def test_every_operation_is_described(api: Json, places: list[Place]) -> None:
    known = {tag["name"]: tag["description"] for tag in api["tags"]}
    for _, _, operation in places:
        assert operation["summary"]
        assert operation["description"]
        assert len(operation["tags"]) == 1
        assert known[operation["tags"][0]]
        assert any(status.startswith("4") for status in operation["responses"])
        assert all(response["description"] for response in operation["responses"].values())


def test_every_parameter_is_described(places: list[Place]) -> None:
    for path, _, operation in places:
        parameters = operation.get("parameters", [])
        assert all(parameter["description"] for parameter in parameters)
        in_path = [parameter["name"] for parameter in parameters if parameter["in"] == "path"]
        assert sorted(in_path) == sorted(re.findall(r"{(\w+)}", path))


def test_every_refusal_has_its_form(places: list[Place]) -> None:
    for path, _, operation in places:
        own = "OipError" if path.startswith("/v2") else "ErrorReply"
        for status, response in operation["responses"].items():
            if status >= "400":
                form = "ErrorReply" if status == "431" else own
                assert response["content"]["application/json"]["schema"]["$ref"].endswith(f"/{form}"), (path, status)


def test_who_may_ask_is_said_of_every_operation(api: Json, places: list[Place]) -> None:
    schemes = api["components"].get("securitySchemes", {})
    assert api["security"] == []
    for path, _, operation in places:
        guarded = bool(schemes) and needed_scope(path) is not None
        assert operation.get("security", []) == ([{name: []} for name in schemes] if guarded else [])
        assert ({"401", "403"} <= set(operation["responses"])) == guarded


def test_every_schema_is_used_and_every_reference_leads_somewhere(api: Json) -> None:
    used = {node["$ref"] for node in walk(api) if "$ref" in node}
    assert used == {COMPONENT.format(model=name) for name in api["components"]["schemas"]}


def test_lists_say_what_they_hold(api: Json) -> None:
    assert all("items" in node for node in walk(api) if node.get("type") == "array")


def test_every_example_fits_its_schema(api: Json) -> None:
    for node in walk(api):
        if "schema" in node and "example" in node:
            schema = {"components": api["components"], **node["schema"]}
            Draft202012Validator(schema).validate(node["example"])


def test_no_schema_has_a_field_of_its_own_name(api: Json) -> None:
    """In what openapi-python-client generates, one variable would stand for both."""
    for name, schema in api["components"]["schemas"].items():
        own = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        assert own not in schema.get("properties", {})


def test_only_what_must_be_sent_is_required(api: Json) -> None:
    """A field with a default is taken as one that must be sent by openapi-typescript."""
    required = {
        name: schema.get("required", [])
        for name, schema in api["components"]["schemas"].items()
        if name.endswith(("Body", "Request")) or name.startswith("InferRequested") or name == "InferInput"
    }
    assert required == {
        "PredictBody": ["inputs"],
        "UncertaintyBody": ["inputs"],
        "AdaptiveBody": ["max"],
        "AblateBody": ["site"],
        "LabelBody": ["label"],
        "ErrorBody": ["code", "message", "details"],
        "InferRequest": ["inputs"],
        "InferInput": ["name", "shape", "datatype"],
        "InferRequestedOutput": ["name"],
        "IndexRequest": [],
        "LoadRequest": [],
    }
    for name in required:
        assert all(
            "default" not in field for field in api["components"]["schemas"][name].get("properties", {}).values()
        )


def test_what_a_reply_always_has_is_required(api: Json) -> None:
    optional = {
        name: sorted(set(schema["properties"]) - set(schema.get("required", [])))
        for name, schema in api["components"]["schemas"].items()
        if "properties" in schema and not name.endswith(("Body", "Request"))
    }
    sometimes = ["quantiles", "sampled", "samples", "stopped"]
    assert {name: fields for name, fields in optional.items() if fields} == {
        "PredictReply": ["labels"],
        "UncertaintyReply": ["decided", "labels", "quantiles"],
        "ClassAnswer": ["prediction_set"],
        "RegressionAnswer": ["interval", "noise_std"],
        "ClassSpread": ["decision", *sometimes],
        "RegressionSpread": sometimes,
        "InferInput": ["data", "parameters"],
        "InferRequestedOutput": ["parameters"],
        "InferOutput": ["data", "parameters"],
        "InferReply": ["id", "parameters"],
    }


def test_what_a_reply_may_lack_is_never_null(client: httpx.Client, api: Json) -> None:
    (row,) = client.post("/uncertainty", json={"inputs": [[1, 2, 3, 4]]}).json()["predictions"]
    for name, answer in (("ClassSpread", row), ("ClassAnswer", row["deterministic"])):
        schema = api["components"]["schemas"][name]
        lacking = set(schema["properties"]) - set(answer)
        assert lacking
        assert lacking.isdisjoint(schema["required"])
        for field in lacking:
            assert {"type": "null"} not in schema["properties"][field].get("anyOf", [])
