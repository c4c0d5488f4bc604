"""The routes beside inference: health, and whatever else manages the service."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from service.api import schemas
from service.api.replies import encode
from service.http.openapi.operations import refusal
from service.repository.repository import Repository
from service.telemetry.exposition import Exposition


def make_health_router(repository: Repository) -> APIRouter:
    """What a load balancer, or a person, asks first."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", response_model=schemas.Alive, summary="Is the process alive?")
    async def get_liveness() -> Response:
        """200 as long as the process answers at all."""
        return json_response(encode({"status": "alive"}))

    unready = {503: refusal("It is not ready; the message says why.")}

    @router.get("/readyz", response_model=schemas.Ready, responses=unready, summary="Can it serve?")  # type: ignore[arg-type]
    async def get_readiness() -> Response:
        """200 when models are loaded and verified, else 503 with the reason."""
        return json_response(encode(repository.status()))

    return router


def make_metrics_router(exposition: Exposition) -> APIRouter:
    """What Prometheus asks."""
    router = APIRouter(tags=["health"])

    @router.get("/metrics", response_class=PlainTextResponse, summary="What was counted, for Prometheus")
    async def get_metrics(request: Request) -> Response:
        """The sum over all workers, whichever answers."""
        content, content_type = exposition.expose(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": content_type})

    return router


def json_response(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON that is encoded already."""
    return Response(content, status, headers, "application/json")
