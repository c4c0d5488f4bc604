"""The application: settings in, an ASGI app out. Nothing here is global."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from service import __version__, errors
from service.config import Settings
from service.documentation import describe_api
from service.errors import DropserveError
from service.gate import Gate
from service.inference import Inference
from service.masks import MaskCache
from service.oip.http import OpenInference
from service.refusals import error_reply
from service.repository import Repository
from service.routes import make_health_router
from service.scheduling import Scheduler


def create_app(settings: Settings | None = None) -> Gate:
    """The service. It answers at once that it is alive; it is ready when the models have been verified."""
    settings = settings or Settings()
    masks = MaskCache(settings.mask_cache_bytes)
    repository = Repository(settings.models, masks, default_model=settings.default_model, threads=settings.threads)
    scheduler = Scheduler(settings.queue_size, settings.inline_seconds)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(asyncio.to_thread(repository.load_all))
        async with _grpc(repository, scheduler, settings):
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
    app.include_router(make_health_router(repository))
    app.openapi = lambda: describe_api(app, repository, settings)  # type: ignore[method-assign]
    app.add_exception_handler(DropserveError, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_parameter)
    app.add_exception_handler(HTTPException, _refuse_route)
    return Gate(
        app, Inference(repository, scheduler, settings), OpenInference(repository, scheduler, settings)
    )


def _grpc(repository: Repository, scheduler: Scheduler, settings: Settings) -> AbstractAsyncContextManager[None]:
    """The gRPC server, where a port is set for it; what it needs is an extra, and only then imported."""
    if settings.grpc_port is None:
        return nullcontext()
    try:
        from service.grpc_server import grpc_server
    except ModuleNotFoundError as error:
        raise RuntimeError("DROPSERVE_GRPC_PORT is set: expected gRPC, pip install 'dropserve[grpc]'") from error
    return grpc_server(repository, scheduler, settings)


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, DropserveError)
    return _response(error)


async def _refuse_parameter(_: Request, error: Exception) -> Response:
    """A path or query parameter is of the wrong type; bodies never come this way."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = str(first["loc"][-1])
    return _response(errors.InvalidInput(f"{field}: {first['msg']}", field=field))


async def _refuse_route(request: Request, error: Exception) -> Response:
    """No such path, or not with this method."""
    assert isinstance(error, HTTPException)
    kind = errors.MethodNotAllowed if error.status_code == 405 else errors.UnknownPath
    message = f"{request.method} {request.url.path}: {error.detail}; /docs lists what there is"
    response = _response(kind(message), error.status_code)
    response.headers.update(error.headers or {})
    return response


def _response(error: DropserveError, status: int | None = None) -> Response:
    status, content, headers = error_reply(error, status)
    response = Response(content, status, media_type="application/json")
    response.raw_headers.extend(headers)
    return response
