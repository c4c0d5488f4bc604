"""Which models there are, what each says of itself, and loading and unloading them.

Of the manifest all is told but `training` and `libraries`: how a model was made belongs in its card, and may name
paths and software of the machine it was made on. Digests stay: they prove which files answer and give nothing away.

Loading, unloading and refreshing are an administrator's: `service.access.keys` knows them by their paths.
"""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from service.api import schemas
from service.api.replies import as_sent, encode, encode_examples
from service.engine.engine import Engine
from service.http.openapi.operations import refusals
from service.http.routes import json_response
from service.model.manifest import Manifest
from service.repository.catalogue import UNLOADED, Catalogue
from service.repository.repository import Repository

UNTOLD = {"schema_version", "name", "training", "libraries"}

Json = dict[str, Any]
Name = Annotated[str, Path(description="Of the model.", examples=["digits"])]
Version = Annotated[int, Path(description="Of the model.", ge=1, examples=[1])]

NAMED = refusals(404, 422)
"""Of an operation whose path names a model."""


def make_models_router(repository: Repository) -> APIRouter:
    """`/v1/models` and what is below, but for the questions that `service.http.inference` answers."""
    router = APIRouter(prefix="/v1/models", tags=["models"], responses=refusals(503))
    _add_questions(router, repository)
    _add_example_rows(router, repository)
    _add_refresh(router, repository)
    _add_commands(router, repository)
    return router


def _add_questions(router: APIRouter, repository: Repository) -> None:
    @router.get("", response_model=schemas.ModelList, summary="Which models are there?")
    async def list_models() -> Response:
        """All models with all versions: those that serve, and why others do not."""
        return _reply(describe_all(repository.catalogue))

    @router.get("/{name}", response_model=schemas.ModelDetail, responses=NAMED, summary="What a model says of itself")
    async def get_model(name: Name) -> Response:
        """The manifest of its default version, with the figures of its evaluation."""
        return _detail(name)

    @router.get(
        "/{name}/versions/{version}",
        response_model=schemas.ModelDetail,
        responses=NAMED,
        summary="What a version says of itself",
    )
    async def get_version(name: Name, version: Version) -> Response:
        """Its manifest, with the figures of its evaluation."""
        return _detail(name, version)

    def _detail(name: str, version: int | None = None) -> Response:
        catalogue = repository.catalogue
        manifest = catalogue.find(name, version).manifest
        return _reply(describe_model(catalogue, name) | describe_manifest(manifest))


def _add_example_rows(router: APIRouter, repository: Repository) -> None:
    def add(path: str, answer: Any, summary: str) -> None:
        router.add_api_route(path, answer, response_model=schemas.Examples, responses=NAMED, summary=summary)

    async def get_model_examples(name: Name) -> Response:
        """A few real rows, as its default version takes them."""
        return _examples(name)

    async def get_version_examples(name: Name, version: Version) -> Response:
        """A few real rows, as it takes them."""
        return _examples(name, version)

    def _examples(name: str, version: int | None = None) -> Response:
        engine = repository.catalogue.find(name, version)
        return json_response(encode_examples(engine.manifest, engine.examples))

    add("/{name}/examples", get_model_examples, "Example rows of a model")
    add("/{name}/versions/{version}/examples", get_version_examples, "Example rows of a version")


def _add_refresh(router: APIRouter, repository: Repository) -> None:
    @router.post(
        "/refresh", response_model=schemas.ModelList, responses=refusals(404), summary="Look for new models now"
    )
    async def refresh_models() -> Response:
        """Look at the folder, or at the store behind the URL, without waiting for the next time."""
        await asyncio.to_thread(repository.refresh)
        return _reply(describe_all(repository.catalogue))


def _add_commands(router: APIRouter, repository: Repository) -> None:
    def add(path: str, answer: Any, model: type[schemas.Described], summary: str) -> None:
        router.add_api_route(path, answer, methods=["POST"], response_model=model, responses=NAMED, summary=summary)

    async def load_model(name: Name) -> Response:
        """All its versions, those that failed before too; an error when none of them can be served."""
        await repository.load(name)
        return _state(name)

    async def load_version(name: Name, version: Version) -> Response:
        """One version; an error, with the reason, when it cannot be served."""
        await repository.load(name, version)
        return _state(name)

    async def unload_model(name: Name) -> Response:
        """All its versions, and any that is published later, until it is loaded. Requests in flight finish."""
        await repository.unload(name)
        return _state(name)

    async def unload_version(name: Name, version: Version) -> Response:
        """One version, until it is loaded. Requests in flight finish."""
        await repository.unload(name, version)
        return _state(name)

    def _state(name: str) -> Response:
        return _reply(describe_model(repository.catalogue, name))

    add("/{name}/load", load_model, schemas.ModelState, "Serve a model")
    add("/{name}/unload", unload_model, schemas.ModelState, "Let go of a model")
    add("/{name}/versions/{version}/load", load_version, schemas.ModelState, "Serve a version")
    add("/{name}/versions/{version}/unload", unload_version, schemas.ModelState, "Let go of a version")


def describe_all(catalogue: Catalogue) -> Json:
    """As `schemas.ModelList`."""
    models = [describe_model(catalogue, name) for name in catalogue.names]
    return {"default_model": catalogue.default_model, "models": models}


def describe_model(catalogue: Catalogue, name: str) -> Json:
    """As `schemas.ModelState`."""
    return {
        "model": name,
        "default_version": catalogue.default_version(name),
        "versions": [
            {"version": entry.version, "state": entry.state, "reason": entry.reason} for entry in catalogue.of(name)
        ],
    }


def describe_manifest(manifest: Manifest) -> Json:
    """What `schemas.ModelDetail` adds to it."""
    return manifest.model_dump(mode="json", exclude=UNTOLD)


def add_examples(api: Json, catalogue: Catalogue, engine: Engine) -> None:
    """To an OpenAPI description: what this service answers of one of its models."""
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
