"""The application: settings in, an ASGI app out. Nothing here is global."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from service import __version__, errors
from service.config import Settings
from service.documentation import describe_api
from service.errors import DropserveError
from service.masks import MaskCache
from service.replies import encode
from service.repository import Repository
from service.routes import Inference, json_response, make_health_router, make_inference_router
from service.scheduling import Scheduler

log = structlog.get_logger(__name__)

STATUS: dict[type[DropserveError], int] = {
    errors.MalformedBody: 400,
    errors.InvalidInput: 422,
    errors.LimitExceeded: 422,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.UnknownModel: 404,
    errors.UnknownPath: 404,
    errors.MethodNotAllowed: 405,
    errors.NotReady: 503,
    errors.Overloaded: 429,
    errors.DeadlineExceeded: 504,
    errors.InvalidModel: 503,
}
"""What each refusal is to an HTTP caller."""

RETRY_AFTER = {429: "1", 503: "1"}
"""Seconds."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The service. It answers at once that it is alive; it is ready when the models have been verified."""
    settings = settings or Settings()
    masks = MaskCache(settings.mask_cache_bytes)
    repository = Repository(settings.models, masks, default_model=settings.default_model, threads=settings.threads)
    scheduler = Scheduler(settings.queue_size, settings.inline_seconds)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(asyncio.to_thread(repository.load_all))
        yield
        await loading
        scheduler.close()

    app = FastAPIOffline(
        title="Dropserve",
        version=__version__,
        summary="A fast deterministic answer, and on request how much to trust it.",
        lifespan=lifespan,
        redoc_url=None,
    )
    app.include_router(make_inference_router(Inference(repository, scheduler, settings)))
    app.include_router(make_health_router(repository))
    app.openapi = lambda: describe_api(app, repository, settings)  # type: ignore[method-assign]
    app.add_exception_handler(DropserveError, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_parameter)
    app.add_exception_handler(HTTPException, _refuse_route)
    app.add_exception_handler(Exception, _fail)
    return app


def error_response(error: DropserveError, status: int) -> Response:
    """An error in the form that all errors have."""
    body = {"error": {"code": error.code, "message": error.message, "details": error.details}}
    headers = {"Retry-After": RETRY_AFTER[status]} if status in RETRY_AFTER else None
    return json_response(encode(body), status, headers)


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, DropserveError)
    return error_response(error, STATUS[type(error)])


async def _refuse_parameter(_: Request, error: Exception) -> Response:
    """A path or query parameter is of the wrong type; bodies never come this way."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = str(first["loc"][-1])
    return error_response(errors.InvalidInput(f"{field}: {first['msg']}", field=field), 422)


async def _refuse_route(request: Request, error: Exception) -> Response:
    """No such path, or not with this method."""
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}; /docs lists what there is"
    kind = errors.MethodNotAllowed if error.status_code == 405 else errors.UnknownPath
    response = error_response(kind(message), error.status_code)
    response.headers.update(error.headers or {})
    return response


async def _fail(_: Request, error: Exception) -> Response:
    """A mistake of ours: told in the log, not to the caller."""
    log.error("unexpected error", exc_info=error)
    return error_response(DropserveError("something went wrong in the service; its log says what"), 500)
