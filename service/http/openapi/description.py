"""The route of the OpenAPI document, which is made when it is first requested."""

import asyncio

from fastapi import APIRouter, FastAPI, Response

from service.api.replies import encode
from service.config import Settings
from service.errors import NotReady
from service.http.json_response import json_response
from service.repository.catalogue import Catalogue
from service.repository.repository import Repository


class Description:
    """The OpenAPI document as bytes, generated in a thread and cached until the loaded models change."""

    def __init__(self, app: FastAPI, repository: Repository, settings: Settings) -> None:
        """Describe the routes of `app`, with examples from `repository`."""
        self._app = app
        self._repository = repository
        self._settings = settings
        self._made: tuple[Catalogue | None, bytes] = (None, b"")
        self._making = asyncio.Lock()

    async def content(self) -> bytes:
        """Return the document, in JSON."""
        async with self._making:
            catalogue = _catalogue_at_hand(self._repository)
            known, content = self._made
            if not content or known is not catalogue:
                content = await asyncio.to_thread(self._make)
                self._made = (catalogue, content)
            return content

    def _make(self) -> bytes:
        from service.http.openapi.document import describe_api  # the models of the API's JSON, a tenth of the start

        return encode(describe_api(self._app, self._repository, self._settings))


def make_description_router(description: Description) -> APIRouter:
    """Return the route of `/openapi.json`."""
    router = APIRouter(include_in_schema=False)

    @router.get("/openapi.json")
    async def openapi() -> Response:
        return json_response(await description.content())

    return router


def _catalogue_at_hand(repository: Repository) -> Catalogue | None:
    try:
        return repository.catalogue
    except NotReady:
        return None
