"""The routes of health checks and metrics."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from service.api.replies import encode
from service.http.openapi.operations import Responses, refusal, reply
from service.repository.repository import Repository
from service.telemetry.exposition import Exposition


def make_health_router(repository: Repository) -> APIRouter:
    """Return the routes of health checks."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", responses=reply("Alive"), summary="Check that the process is alive")
    async def get_liveness() -> Response:
        """Return 200 as long as the process can answer."""
        return json_response(encode({"status": "alive"}))

    unready: Responses = {503: refusal("The service is not ready; the message has the reason.")}

    @router.get("/readyz", responses=reply("Ready") | unready, summary="Check that the service is ready")
    async def get_readiness() -> Response:
        """Return 200 once models are loaded and verified, else 503 with the reason."""
        return json_response(encode(repository.status()))

    return router


def make_metrics_router(exposition: Exposition) -> APIRouter:
    """Return the route of metrics."""
    router = APIRouter(tags=["health"])

    @router.get("/metrics", response_class=PlainTextResponse, summary="Get metrics for Prometheus")
    async def get_metrics(request: Request) -> Response:
        """Return the metrics, summed over all workers."""
        content, content_type = exposition.expose(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": content_type})

    return router


def json_response(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a response with encoded JSON."""
    return Response(content, status, headers, "application/json")
