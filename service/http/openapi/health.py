"""Health checks and metrics as FastAPI routes, only to describe them in the OpenAPI document."""

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from service.http.openapi.operations import Responses, refusal, reply

UNREADY: Responses = {503: refusal("The service is not ready; the message has the reason.")}


def make_health_routes() -> APIRouter:
    """Return the routes, which are described but never called."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", responses=reply("Alive"), summary="Check that the process is alive")
    async def get_liveness() -> Response:
        """Return 200 as long as the process can answer."""
        raise NotImplementedError

    @router.get("/readyz", responses=reply("Ready") | UNREADY, summary="Check that the service is ready")
    async def get_readiness() -> Response:
        """Return 200 once models are loaded and verified, else 503 with the reason."""
        raise NotImplementedError

    @router.get("/metrics", response_class=PlainTextResponse, summary="Get metrics for Prometheus")
    async def get_metrics() -> Response:
        """Return the metrics, summed over all workers."""
        raise NotImplementedError

    return router
