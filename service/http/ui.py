"""The pages for people and their files, from `service/ui`: plain HTML, CSS and ES modules, as they lie there."""

import os
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.staticfiles import StaticFiles

from service.http.pages import page_headers

PAGES = {"/": "index.html", "/status": "status.html"}
"""By path: the file."""

HEADERS = page_headers("") | {"cache-control": "no-cache"}
"""No inline scripts; browsers ask each time whether a file has changed, so that a new service has new pages at once."""


class Files(StaticFiles):
    """Files with an ETag, and our headers."""

    def file_response(self, full_path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Response:
        """As starlette makes it; If-None-Match is answered too."""
        response = super().file_response(full_path, *args, **kwargs)
        response.headers.update(HEADERS)
        return response


def add_pages(app: FastAPI) -> None:
    """Each page at its path, all files below `/ui`; links are relative, so that they work below any prefix."""
    files = Files(packages=[("service", "ui")])
    for path, file in PAGES.items():
        app.add_api_route(path, _page(files, file), include_in_schema=False)
    app.mount("/ui", files, name="ui")


def _page(files: Files, file: str) -> Any:
    async def page(request: Request) -> Response:
        return await files.get_response(file, request.scope)

    return page
