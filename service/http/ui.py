"""The playground and the status page, from `service/ui`: plain HTML, CSS and ES modules, served unchanged."""

import os
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.staticfiles import StaticFiles

from service.http.pages import page_headers

PAGES = {"/": "index.html", "/status": "status.html"}
"""The file of each path."""

HEADERS = page_headers("") | {"cache-control": "no-cache"}
"""Headers that forbid inline scripts, and make browsers revalidate files so that a new service has new pages."""


class Files(StaticFiles):
    """Files with an ETag and the pages' headers."""

    def file_response(self, full_path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Response:
        """Return starlette's response, also to If-None-Match, with the pages' headers."""
        response = super().file_response(full_path, *args, **kwargs)
        response.headers.update(HEADERS)
        return response


def add_pages(app: FastAPI) -> None:
    """Add the pages, and all files below `/ui`; relative links work below any prefix."""
    files = Files(packages=[("service", "ui")])
    for path, file in PAGES.items():
        app.add_api_route(path, _page(files, file), include_in_schema=False)
    app.mount("/ui", files, name="ui")


def _page(files: Files, file: str) -> Any:
    async def page(request: Request) -> Response:
        return await files.get_response(file, request.scope)

    return page
