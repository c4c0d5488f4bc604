"""All but inference, health checks and metrics: FastAPI's app of pages, models, files, review and the document."""

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from service import __version__, errors
from service.access.refusals import INTERNAL_ERROR, error_reply
from service.config import Settings
from service.errors import DropserveError
from service.http.allowed_methods import find_allowed
from service.http.model_files import make_files_router
from service.http.models_api import make_models_router
from service.http.openapi.description import Description, make_description_router
from service.http.openapi.health import make_health_routes
from service.http.openapi.operations import operation_name
from service.http.pages import add_docs
from service.http.review_api import make_refusing_router, make_review_router
from service.http.ui import add_pages
from service.repository.repository import Repository
from service.review.review import Review
from service.review.store import Store


def make_site(settings: Settings, repository: Repository, store: Store | None) -> FastAPI:
    """Return the app; without a store of the prediction log it has no review."""
    app = FastAPI(
        title="Dropserve",
        version=__version__,
        summary="A fast deterministic answer, and on request how much to trust it.",
        generate_unique_id_function=operation_name,
        redirect_slashes=False,  # behind a proxy, a redirect would name the wrong host
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    add_docs(app)
    add_pages(app)
    app.include_router(make_description_router(Description(app, repository, settings)))
    app.include_router(make_health_routes())
    app.include_router(make_models_router(repository))
    app.include_router(make_files_router(repository))
    if store:
        app.include_router(make_review_router(Review(store, repository), settings.request_timeout))
    else:
        app.include_router(make_refusing_router())
    app.add_exception_handler(DropserveError, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_parameter)
    app.add_exception_handler(HTTPException, _refuse_route)
    app.add_exception_handler(Exception, _fail)
    return app


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, DropserveError)
    return _response(error)


async def _refuse_parameter(_: Request, error: Exception) -> Response:
    """Answer an invalid path or query parameter; bodies are checked elsewhere."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = str(first["loc"][-1])
    return _response(errors.InvalidInput(f"{field}: {first['msg']}", field=field))


async def _refuse_route(request: Request, error: Exception) -> Response:
    """Answer an unknown path or method."""
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}; /docs lists all paths"
    if error.status_code == 405:
        return _response(errors.MethodNotAllowed(message, allowed=find_allowed(request.app.routes, request.scope)))
    return _response(errors.UnknownPath(message), error.status_code)


async def _fail(_: Request, __: Exception) -> Response:
    """Answer an unexpected exception, which starlette raises again and the gate logs."""
    return _response(DropserveError(INTERNAL_ERROR))


def _response(error: DropserveError, status: int | None = None) -> Response:
    reply = error_reply(error, status)
    response = Response(reply.content, reply.status, media_type="application/json")
    response.raw_headers.extend(reply.headers)
    return response
