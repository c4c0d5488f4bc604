"""The routes of a model's documents, below `/models`: its card, plots and behaviour report."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response

from service.api.replies import encode
from service.http.cards import render_card
from service.http.documents import HARMLESS, HTML, prefers_html
from service.http.json_response import json_response
from service.http.models_api import Name, Version
from service.http.openapi.operations import refusal, refusals, reply
from service.repository.documents import Documents
from service.repository.repository import Repository

Json = dict[str, Any]

MARKDOWN, SVG = "text/markdown; charset=utf-8", "image/svg+xml"

File = Annotated[str, Path(description="A plot of the model.", examples=["reliability.svg"])]
MISSING = refusals(422, 503) | {404: refusal("There is no such model, version or file.")}


def make_files_router(repository: Repository) -> APIRouter:
    """Return the routes `/models/{name}/…` of the default version, and `/models/{name}/versions/{version}/…`."""
    router = APIRouter(prefix="/models", tags=["files"], responses=MISSING)

    async def of_model(name: Name) -> Documents:
        return _documents(repository, name)

    async def of_version(name: Name, version: Version) -> Documents:
        return _documents(repository, name, version)

    _add_files(router, "/{name}", "model", of_model)
    _add_files(router, "/{name}/versions/{version}", "version", of_version)
    return router


def _documents(repository: Repository, name: str, version: int | None = None) -> Documents:
    """Return the documents of a loaded version, whose manifest has their folder."""
    manifest = repository.find(name, version).manifest
    return Documents(repository.folder / manifest.name / str(manifest.version), manifest)


def _add_files(router: APIRouter, place: str, thing: str, find: Callable[..., Awaitable[Documents]]) -> None:
    found = Depends(find)

    async def files(documents: Annotated[Documents, found]) -> Response:
        """Return whether the version has a card and a behaviour report, and the names of its plots."""
        return json_response(encode(await asyncio.to_thread(list_files, documents)))

    async def behaviour(documents: Annotated[Documents, found]) -> Response:
        """Return measurements of dropout in this network, the page written by `dropserve behaviour`."""
        return _show(await asyncio.to_thread(documents.read_behaviour), HTML)

    async def card(request: Request, documents: Annotated[Documents, found]) -> Response:
        """Return the model card in Markdown, or with `Accept: text/html` as a page with the plots in it."""
        as_page = prefers_html(request.headers.get("accept", ""))
        content = await asyncio.to_thread(render_card if as_page else Documents.read_card, documents)
        return _show(content, HTML if as_page else MARKDOWN, vary="accept")

    async def plot(file: File, documents: Annotated[Documents, found]) -> Response:
        """Return a plot of the evaluation."""
        return _show(await asyncio.to_thread(documents.read_plot, file), SVG)

    def add(path: str, answer: Any, summary: str, **described: Any) -> None:
        name = f"get_{thing}_{answer.__name__}"
        router.add_api_route(f"{place}/{path}", answer, name=name, summary=f"{summary} a {thing}", **described)

    add("files", files, "List the documents of", responses=reply("ModelFiles"))
    add("behaviour", behaviour, "Get the behaviour report of", **_kinds(HTML))
    add("card", card, "Get the card of", **_kinds(MARKDOWN, HTML))
    add("plots/{file}", plot, "Get a plot of", **_kinds(SVG))


def list_files(documents: Documents) -> dict[str, Any]:
    """Return the names of documents, as `schemas.ModelFiles`."""
    return {
        "model": documents.manifest.name,
        "version": documents.manifest.version,
        "card": documents.has_card,
        "behaviour": documents.has_behaviour,
        "plots": documents.plots,
    }


def _kinds(*kinds: str) -> Json:
    """Return the content types of an answer for OpenAPI."""
    content = {kind.partition(";")[0]: {"schema": {"type": "string"}} for kind in kinds}
    return {"response_class": Response, "responses": {200: {"description": "The file.", "content": content}}}


def _show(content: bytes, kind: str, **headers: str) -> Response:
    return Response(content, headers={**HARMLESS, **headers, "content-type": kind})
