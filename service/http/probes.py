"""Health checks and metrics, which need no FastAPI; `openapi/health.py` describes them."""

from collections.abc import Callable
from typing import NamedTuple, cast

from service.access.calls import ASGIApp, ASGICall, Call, Receive, Reply, Scope, Send
from service.api.replies import encode
from service.repository.repository import Repository
from service.telemetry.exposition import Exposition


class Probe(NamedTuple):
    """The route of a health check or of the metrics."""

    path: str
    answer: Callable[[Call], Reply]


class Probes:
    """An ASGI app that answers GET for its paths, and passes all else on."""

    def __init__(self, app: ASGIApp, repository: Repository, exposition: Exposition) -> None:
        """Answer for `repository` and `exposition`, before `app`."""
        self._app = app
        self._repository = repository
        self._exposition = exposition
        probes = (Probe("/healthz", self._alive), Probe("/readyz", self._ready), Probe("/metrics", self._metrics))
        self._probes = {probe.path: probe for probe in probes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises NotReady."""
        probe = self._probes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
        if probe is None:
            await self._app(scope, receive, send)
            return
        call = cast("ASGICall", scope["call"])
        scope["route"] = probe
        call.route = probe.path
        await call.reply(probe.answer(call))

    def _alive(self, _: Call) -> Reply:
        return Reply(encode({"status": "alive"}))

    def _ready(self, _: Call) -> Reply:
        return Reply(encode(self._repository.status()))

    def _metrics(self, call: Call) -> Reply:
        content, content_type = self._exposition.expose(call.headers.get(b"accept", b"").decode("latin-1"))
        return Reply(content, content_type=content_type.encode())
