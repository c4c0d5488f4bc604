"""The routes that list, describe, load and unload models.

A description has all fields of the manifest except `training` and `libraries`, which may name paths and software of
the machine that made the model; the model card has what is public of them.

Loading, unloading and refreshing need a key of the scope admin, by their paths in `service.access.keys`.
"""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from service.api.replies import as_sent, encode, encode_examples
from service.engine.engine import Engine
from service.http.json_response import json_response
from service.http.openapi.operations import Responses, refusals, reply
from service.model.manifest import Manifest
from service.repository.catalogue import UNLOADED, Catalogue
from service.repository.repository import Repository

EXCLUDED = {"schema_version", "name", "training", "libraries"}

Json = dict[str, Any]
Name = Annotated[str, Path(description="Name of the model.", examples=["digits"])]
Version = Annotated[int, Path(description="Version of the model.", ge=1, examples=[1])]

NAMED = refusals(404, 422)
"""Errors of operations whose path names a model."""
DETAIL: Responses = reply("ModelDetail") | NAMED
STATE: Responses = reply("ModelState") | NAMED


def make_models_router(repository: Repository) -> APIRouter:
    """Return the routes of `/v1/models` and below, except those of inference."""
    router = APIRouter(prefix="/v1/models", tags=["models"], responses=refusals(503))
    _add_descriptions(router, repository)
    _add_example_rows(router, repository)
    _add_refresh(router, repository)
    _add_commands(router, repository)
    return router


def _add_descriptions(router: APIRouter, repository: Repository) -> None:
    @router.get("", responses=reply("ModelList"), summary="List models")
    async def list_models() -> Response:
        """Return all models with all versions, and for each that is unavailable the reason."""
        return _reply(describe_all(repository.catalogue))

    @router.get("/{name}", responses=DETAIL, summary="Describe a model")
    async def get_model(name: Name) -> Response:
        """Return the manifest of the default version, with its evaluation."""
        return _detail(name)

    @router.get("/{name}/versions/{version}", responses=DETAIL, summary="Describe a version of a model")
    async def get_version(name: Name, version: Version) -> Response:
        """Return the manifest of the version, with its evaluation."""
        return _detail(name, version)

    def _detail(name: str, version: int | None = None) -> Response:
        catalogue = repository.catalogue
        manifest = catalogue.find(name, version).manifest
        return _reply(describe_model(catalogue, name) | describe_manifest(manifest))


def _add_example_rows(router: APIRouter, repository: Repository) -> None:
    def add(path: str, answer: Any, summary: str) -> None:
        router.add_api_route(path, answer, responses=reply("Examples") | NAMED, summary=summary)

    async def get_model_examples(name: Name) -> Response:
        """Return a few real rows in the form of a request to the default version."""
        return _examples(name)

    async def get_version_examples(name: Name, version: Version) -> Response:
        """Return a few real rows in the form of a request to the version."""
        return _examples(name, version)

    def _examples(name: str, version: int | None = None) -> Response:
        engine = repository.catalogue.find(name, version)
        return json_response(encode_examples(engine.manifest, engine.examples))

    add("/{name}/examples", get_model_examples, "Get example rows of a model")
    add("/{name}/versions/{version}/examples", get_version_examples, "Get example rows of a version")


def _add_refresh(router: APIRouter, repository: Repository) -> None:
    @router.post("/refresh", responses=reply("ModelList") | refusals(404), summary="Check for changed models now")
    async def refresh_models() -> Response:
        """Check the folder or URL of models for changes at once, and return all models."""
        await asyncio.to_thread(repository.refresh)
        return _reply(describe_all(repository.catalogue))


def _add_commands(router: APIRouter, repository: Repository) -> None:
    def add(path: str, answer: Any, summary: str) -> None:
        router.add_api_route(path, answer, methods=["POST"], responses=STATE, summary=summary)

    async def load_model(name: Name) -> Response:
        """Load all versions, and retry failed ones; an error if none of them can be loaded."""
        await repository.load(name)
        return _state(name)

    async def load_version(name: Name, version: Version) -> Response:
        """Load one version; an error with the reason if it cannot be loaded."""
        await repository.load(name, version)
        return _state(name)

    async def unload_model(name: Name) -> Response:
        """Unload all versions, with future ones, until the model is loaded again; requests in flight finish."""
        await repository.unload(name)
        return _state(name)

    async def unload_version(name: Name, version: Version) -> Response:
        """Unload one version until it is loaded again; requests in flight finish."""
        await repository.unload(name, version)
        return _state(name)

    def _state(name: str) -> Response:
        return _reply(describe_model(repository.catalogue, name))

    add("/{name}/load", load_model, "Load a model")
    add("/{name}/unload", unload_model, "Unload a model")
    add("/{name}/versions/{version}/load", load_version, "Load a version")
    add("/{name}/versions/{version}/unload", unload_version, "Unload a version")


def describe_all(catalogue: Catalogue) -> Json:
    """Return all models, as `schemas.ModelList`."""
    models = [describe_model(catalogue, name) for name in catalogue.names]
    return {"default_model": catalogue.default_model, "models": models}


def describe_model(catalogue: Catalogue, name: str) -> Json:
    """Return a model and its versions, as `schemas.ModelState`. Raises UnknownModel."""
    return {
        "model": name,
        "default_version": catalogue.default_version(name),
        "versions": [
            {"version": entry.version, "state": entry.state, "reason": entry.reason} for entry in catalogue.of(name)
        ],
    }


def describe_manifest(manifest: Manifest) -> Json:
    """Return the fields of `schemas.ModelDetail` that come from the manifest."""
    return manifest.model_dump(mode="json", exclude=EXCLUDED)


def add_examples(api: Json, catalogue: Catalogue, engine: Engine) -> None:
    """Add examples of answers about a loaded model to an OpenAPI document."""
    manifest = engine.manifest
    everything = describe_all(catalogue)
    state = describe_model(catalogue, manifest.name)
    gone = {"state": "unavailable", "reason": UNLOADED}
    unloaded = {**state, "default_version": None, "versions": [version | gone for version in state["versions"]]}
    rows = {name: array[:2] for name, array in engine.examples.items()}
    examples = {"model": manifest.name, "version": manifest.version, "inputs": as_sent(rows, manifest)}
    answers = {
        "models": everything,
        "refresh": everything,
        "load": state,
        "unload": unloaded,
        "examples": examples,
    }
    detail = state | describe_manifest(manifest)
    for path, operations in api["paths"].items():
        for operation in operations.values():
            if operation.get("tags") == ["models"]:
                content = operation["responses"]["200"]["content"]["application/json"]
                content["example"] = answers.get(path.rpartition("/")[2], detail)


def _reply(answer: Json) -> Response:
    return json_response(encode(answer))
