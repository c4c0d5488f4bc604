"""What a model has for people to read, below `/models`: its card, its plots and its behaviour report.

These are somebody's files, shown in a browser under the service's own name. So what they may do there is nothing: no
script runs, nothing is fetched, and the page has an origin of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response

from service.api import schemas
from service.api.replies import encode
from service.http.cards import render_card
from service.http.models_api import Name, Version
from service.http.openapi.operations import refusal, refusals
from service.http.routes import json_response
from service.repository.documents import Documents
from service.repository.repository import Repository

HARMLESS = {
    "content-security-policy": (
        "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "private, no-cache",
}

Json = dict[str, Any]

MARKDOWN, HTML, SVG = "text/markdown; charset=utf-8", "text/html; charset=utf-8", "image/svg+xml"

File = Annotated[str, Path(description="A plot of the model.", examples=["reliability.svg"])]
MISSING = refusals(422, 503) | {404: refusal("There is no such model, version or file.")}


def make_files_router(repository: Repository) -> APIRouter:
    """`/models/{name}/…` of the version that answers by default, and `/models/{name}/versions/{version}/…`."""
    router = APIRouter(prefix="/models", tags=["files"], responses=MISSING)

    async def of_model(name: Name) -> Documents:
        return _documents(repository, name)

    async def of_version(name: Name, version: Version) -> Documents:
        return _documents(repository, name, version)

    _add_files(router, "/{name}", "model", of_model)
    _add_files(router, "/{name}/versions/{version}", "version", of_version)
    return router


def _documents(repository: Repository, name: str, version: int | None = None) -> Documents:
    """Of the version that serves: only its manifest says where they lie."""
    manifest = repository.find(name, version).manifest
    return Documents(repository.folder / manifest.name / str(manifest.version), manifest)


def _add_files(router: APIRouter, place: str, thing: str, find: Callable[..., Awaitable[Documents]]) -> None:
    found = Depends(find)

    async def files(documents: Annotated[Documents, found]) -> Response:
        """Whether it has a card and a behaviour report, and the names of its plots."""
        return json_response(encode(await asyncio.to_thread(list_files, documents)))

    async def behaviour(documents: Annotated[Documents, found]) -> Response:
        """What dropout does in this network, measured: the page that `dropserve behaviour` wrote."""
        return _show(await asyncio.to_thread(documents.read_behaviour), HTML)

    async def card(request: Request, documents: Annotated[Documents, found]) -> Response:
        """Markdown; or a page with the plots in it, to whoever would rather have `text/html`."""
        as_page = prefers_html(request.headers.get("accept", ""))
        content = await asyncio.to_thread(render_card if as_page else Documents.read_card, documents)
        return _show(content, HTML if as_page else MARKDOWN, vary="accept")

    async def plot(file: File, documents: Annotated[Documents, found]) -> Response:
        """A plot of its evaluation."""
        return _show(await asyncio.to_thread(documents.read_plot, file), SVG)

    def add(path: str, answer: Any, summary: str, **described: Any) -> None:
        name = f"get_{thing}_{answer.__name__}"
        router.add_api_route(f"{place}/{path}", answer, name=name, summary=f"{summary} a {thing}", **described)

    add("files", files, "What there is to read of", response_model=schemas.ModelFiles)
    add("behaviour", behaviour, "What dropout does in", **_kinds(HTML))
    add("card", card, "Card of", **_kinds(MARKDOWN, HTML))
    add("plots/{file}", plot, "A plot of", **_kinds(SVG))


def list_files(documents: Documents) -> dict[str, Any]:
    """As `schemas.ModelFiles`."""
    return {
        "model": documents.manifest.name,
        "version": documents.manifest.version,
        "card": documents.has_card,
        "behaviour": documents.has_behaviour,
        "plots": documents.plots,
    }


def prefers_html(accept: str) -> bool:
    """Whether `text/html` is named, and not ranked below Markdown (RFC 9110, 12.5.1); `*/*` prefers neither."""
    return _rank(accept, "text/html") > _rank(accept, "text/markdown")


def _rank(accept: str, kind: str) -> float:
    """The `q` of a media type, 1 where none is said; 0 when the type is not named."""
    for part in accept.lower().split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        if media == kind:
            said = [parameter.removeprefix("q=") for parameter in parameters if parameter.startswith("q=")]
            return _number(said[0]) if said else 1.0
    return 0.0


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _kinds(*kinds: str) -> Json:
    """The content types of an answer, for the description."""
    content = {kind.partition(";")[0]: {"schema": {"type": "string"}} for kind in kinds}
    return {"response_class": Response, "responses": {200: {"description": "The file.", "content": content}}}


def _show(content: bytes, kind: str, **headers: str) -> Response:
    return Response(content, headers={**HARMLESS, **headers, "content-type": kind})
