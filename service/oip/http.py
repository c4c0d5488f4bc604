"""The protocol over HTTP: the paths below /v2, on ASGI."""

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple

from service.access.bodies import Operation
from service.access.calls import JSON, ASGICall, Call, Reply
from service.access.refusals import error_reply
from service.api.decoding import decode_request
from service.api.replies import encode
from service.api.requests import parse_version
from service.config import Settings
from service.engine.engine import Engine
from service.engine.job import Job
from service.errors import DropserveError, UnknownPath, UnsupportedMediaType
from service.inference import Request
from service.oip import metadata
from service.oip.datatypes import READ_SECONDS_PER_BYTE
from service.oip.form import KnownForms
from service.oip.infer import plan_infer
from service.oip.repository import IndexBody, LoadBody, check_load, index, versions_of
from service.oip.wire import JSON_LENGTH, OCTETS, decode_infer, encode_reply
from service.repository.repository import Repository
from service.rows.json_chunks import decode_seconds
from service.turn import Encode

PREFIX = "/v2"


class Route(NamedTuple):
    """A path and its handler."""

    name: str
    """The route's name in metrics, the same for all models."""
    path: str
    """A regular expression, with the model and its version as groups."""
    method: str
    answer: Callable[[ASGICall, re.Match[str]], Awaitable[None]]


class Infer(Operation):
    """Inference by the protocol."""

    route = "/v2/infer"

    def __init__(self, settings: Settings) -> None:
        """Decode within the limits of the settings."""
        self._settings = settings
        self._max_rows = settings.max_rows
        self._known = KnownForms()

    def check(self, call: Call) -> None:
        """Check the head of a call. Raises UnsupportedMediaType."""
        _expect_json_or_octets(call)

    def decode_seconds(self, call: Call, body: bytes) -> float:
        """Return the estimated time of decoding a body."""
        return len(body) * READ_SECONDS_PER_BYTE if JSON_LENGTH in call.headers else decode_seconds(body)

    def decode(self, call: Call, engine: Engine, body: bytes, job: Job) -> tuple[Request, Encode[Reply]]:  # noqa: ARG002
        """Return the request in a body, and the encoder of its answer."""
        requested = decode_infer(body, call.headers.get(JSON_LENGTH), engine.manifest, self._max_rows, self._known)
        request, chosen = plan_infer(engine, requested, self._settings)
        return request, partial(encode_reply, requested.id, chosen)


class OpenInference:
    """Answers all requests below /v2."""

    def __init__(self, repository: Repository, settings: Settings) -> None:
        """Answer for the models of `repository`, within the limits of the settings."""
        self._repository = repository
        self._settings = settings
        model = "/v2/models/([^/]+)(?:/versions/([^/]+))?"
        self._routes = [
            Route("/v2", "/v2/?", "GET", self._server),
            Route("/v2/health", "/v2/health/live", "GET", self._live),
            Route("/v2/health", "/v2/health/ready", "GET", self._ready),
            Route("/v2/models", model, "GET", self._model),
            Route("/v2/health", f"{model}/ready", "GET", self._model_ready),
            Route("/v2/repository", "/v2/repository/index", "POST", self._index),
            Route("/v2/repository", "/v2/repository/models/([^/]+)/load", "POST", self._load),
            Route("/v2/repository", "/v2/repository/models/([^/]+)/unload", "POST", self._unload),
        ]

    async def answer(self, call: ASGICall) -> None:
        """Answer a call whose path begins with /v2, other than inference. Raises the errors of `service.errors`."""
        for route in self._routes:
            if path := re.fullmatch(route.path, call.path):
                call.route = route.name
                call.expect_method(route.method)
                await route.answer(call, path)
                return
        raise UnknownPath(f"{call.method} {call.path[:200]}: there is no such path; /docs lists all paths")

    async def _server(self, call: ASGICall, _: re.Match[str]) -> None:
        await call.reply(Reply(encode(metadata.SERVER)))

    async def _live(self, call: ASGICall, _: re.Match[str]) -> None:
        await call.reply(Reply(encode({"live": True})))

    async def _ready(self, call: ASGICall, _: re.Match[str]) -> None:
        self._repository.check_ready()
        await call.reply(Reply(encode({"ready": True, "live": True})))

    async def _model(self, call: ASGICall, path: re.Match[str]) -> None:
        manifest = self._find(path).manifest
        await call.reply(Reply(encode(metadata.describe_model(manifest, versions_of(self._repository, manifest.name)))))

    async def _model_ready(self, call: ASGICall, path: re.Match[str]) -> None:
        manifest = self._find(path).manifest
        await call.reply(Reply(encode({"name": manifest.name, "ready": True})))

    async def _index(self, call: ASGICall, _: re.Match[str]) -> None:
        requested = await self._read(call, IndexBody)
        await call.reply(Reply(encode(index(self._repository, only_ready=bool(requested.ready)))))

    async def _load(self, call: ASGICall, path: re.Match[str]) -> None:
        check_load((await self._read(call, LoadBody)).parameters or {})
        await self._repository.load(path[1])
        await call.reply(Reply(b"{}"))

    async def _unload(self, call: ASGICall, path: re.Match[str]) -> None:
        await self._read(call, LoadBody)
        await self._repository.unload(path[1])
        await call.reply(Reply(b"{}"))

    async def _read(self, call: ASGICall, kind: type[Any]) -> Any:
        """Read a small JSON body, which may be empty."""
        _expect_json_or_octets(call)
        body = await call.body(self._settings.max_body_bytes, self._settings.request_timeout)
        return decode_request(body or b"{}", kind)

    def _find(self, path: re.Match[str]) -> Engine:
        return self._repository.find(path[1], parse_version(path[2]))


def refusal(error: DropserveError) -> Reply:
    """Return the answer for an error in the protocol's form, with 400 for all invalid requests."""
    reply = error_reply(error)
    status = 400 if reply.status == 422 else reply.status
    return Reply(encode({"error": error.message}), headers=reply.headers, status=status)


def _expect_json_or_octets(call: Call) -> None:
    """Raise UnsupportedMediaType for a content type other than JSON or raw bytes, of which clients send either."""
    found = call.headers.get(b"content-type", JSON)
    if found in (JSON, OCTETS):
        return
    kind = found.partition(b";")[0].strip().lower()
    if kind not in (JSON, OCTETS):
        expected = f"{JSON.decode()} or {OCTETS.decode()}"
        message = f"content-type: expected {expected}, found {kind[:100].decode('latin-1')}"
        raise UnsupportedMediaType(message, field="content-type", expected=expected)
