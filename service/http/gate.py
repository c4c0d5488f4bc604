"""Identify, authorise and route every HTTP request, and answer every error in one form.

A complete request for inference is answered in its turn of the event loop (`Gate.take`). Every other request comes as
ASGI: inference whose body is still to be read or takes long, the rest of the Open Inference Protocol, and all else in
FastAPI.
"""

import asyncio
import re
from time import perf_counter
from typing import Literal, NamedTuple

import structlog
from msgspec.structs import replace

from service.access.admission import DISCONNECTED, Admission
from service.access.bodies import Operation, answer_body
from service.access.calls import ASGIApp, ASGICall, Call, Receive, Reply, Scope, Send
from service.access.keys import needed_scope
from service.access.refusals import INTERNAL_ERROR, error_reply
from service.api.requests import parse_version
from service.config import Settings
from service.engine.engine import Engine
from service.engine.job import Job
from service.engine.stages import Stopwatch
from service.errors import CallerGone, DropserveError, NotReady, Overloaded, Unauthenticated, UnknownPath
from service.http.connection import Exchange
from service.http.heads import Destination, Head
from service.http.key_page import CONTENT_TYPE, HEADERS, key_page
from service.http.predict_routes import Predict, Sample
from service.http.prefix import without_prefix
from service.inference import Request
from service.oip.http import PREFIX, Infer, OpenInference, refusal
from service.repository.repository import Repository
from service.rows.json_chunks import CHUNK_BYTES
from service.telemetry.records import OTHER
from service.turn import Encode, Pending, Turns
from service.work.scheduling import check_deadline

log = structlog.get_logger(__name__)

PATH = re.compile(
    r"/v1/models/([^/]+)(?:/versions/([^/]+))?/(predict|uncertainty)"
    r"|/v2/models/([^/]+)(?:/versions/([^/]+))?/(infer)"
)
"""Paths of inference by a named model, with its version and the operation."""


VARY = (b"vary", b"Origin")
"""The header of all answers with CORS, so that no cache gives the answer for one origin to another."""


class Target(NamedTuple):
    """The model and operation of a path."""

    model: str | None
    version: str | None
    operation: str


OF_DEFAULT = {f"/{operation}": Target(None, None, operation) for operation in ("predict", "uncertainty")}


class Gate:
    """The outermost ASGI app, around FastAPI's."""

    def __init__(
        self,
        app: ASGIApp,
        repository: Repository,
        open_inference: OpenInference,
        admission: Admission,
        turns: Turns,
        settings: Settings,
    ) -> None:
        """Answer inference by the models of `repository` in `turns`, and let `app` answer the rest."""
        self.app = app
        self._repository = repository
        self._operations: dict[str, Operation] = {
            "predict": Predict(settings),
            "uncertainty": Sample(settings),
            "infer": Infer(settings),
        }
        self._open_inference = open_inference
        self._admission = admission
        self._turns = turns
        self._settings = settings
        self._max_bytes = min(CHUNK_BYTES, settings.max_body_bytes)
        self._max_wait = settings.max_wait
        self._cors = bool(settings.cors_origins)
        self._ended: list[Call] = []
        turns.on_answered(self._end_calls)

    def take(self, exchange: Exchange, body: bytes) -> bool:
        """Answer a complete request for inference at the end of this turn, and return whether it can be.

        All others are left to ASGI: long and compressed bodies, requests from other origins, whose answers may need
        more headers, requests that waited too long, and those with an error in the head, which ASGI finds again.
        """
        head = exchange.head
        if head.destination is None:
            head.destination = self._find_destination(head)
        destination = head.destination
        if not destination or len(body) > self._max_bytes or exchange.waited > self._max_wait:
            return False
        call = Call(head.method, destination.path, head.query, head.fields, exchange.waited, self._turns.watch())
        try:
            if self._admission.guarded:
                self._admit(call, head)
            engine = self._repository.find(destination.model, destination.version)
        except DropserveError:
            return False
        call.route = destination.operation.route
        call.manifest = engine.manifest
        self._turns.add(Received(self, call, exchange, destination, engine, body))
        return True

    def _admit(self, call: Call, head: Head) -> None:
        """Check the key of a call, once for each head and set of keys. Raises Unauthenticated or Forbidden."""
        keys, call.caller = head.admitted
        if keys is not self._admission.keys:
            self._admission.check(call, "infer")
            head.admitted = self._admission.keys, call.caller

    def _find_destination(self, head: Head) -> Destination | Literal[False]:
        """Return the destination of a head, False if its requests are left to ASGI."""
        path = without_prefix(head.path, self._settings.root_path)
        target = read_path(path)
        elsewhere = self._cors and b"origin" in head.fields
        if target is None or head.method != "POST" or b"content-encoding" in head.fields or elsewhere:
            return False
        operation = self._operations[target.operation]
        call = Call(head.method, path, head.query, head.fields)
        try:
            operation.check(call)
            version = parse_version(target.version)
            timeout = call.timeout(self._settings.request_timeout)
        except DropserveError:
            return False
        return Destination(operation, path, target.model, version, timeout) if path.isprintable() else False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; other messages, such as lifespan, go to FastAPI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        call = ASGICall(scope, receive, send)
        self._admission.begin(call)
        try:
            await self._answer(call, scope, receive)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - sent to the caller
            reply = self.refusal(call, error)
            if reply and not call.status:  # else the answer has begun
                await call.reply(reply)
        finally:
            self._admission.end([call])

    async def _answer(self, call: ASGICall, scope: Scope, receive: Receive) -> None:
        if not call.path.isprintable():  # a newline at the end of a path passes routers, but breaks log lines
            raise UnknownPath("the path has control characters; /docs lists all paths")
        if target := read_path(call.path):
            operation, engine = self._enter(call, target)
            await call.reply(await answer_body(call, operation, engine, self._turns, self._settings))
            return
        if self._admission.guarded:  # saves the lookup of the scope
            self._admission.check(call, needed_scope(call.path))
        self._check_wait(call)
        if is_open_inference(call.path):
            await self._open_inference.answer(call)
            return
        scope["call"] = call  # for routes that read a body or the caller's name
        if call.method == "HEAD":
            scope = {**scope, "method": "GET"}  # the server omits the body
        await self.app(scope, receive, call.send_on)
        call.route = getattr(scope.get("route"), "path", OTHER)

    def _enter(self, call: Call, target: Target) -> tuple[Operation, Engine]:
        """Check a call for inference, and return its operation and model. Raises the errors of `service.errors`."""
        if self._admission.guarded:
            self._admission.check(call, "infer")
        self._check_wait(call)
        operation = self._operations[target.operation]
        call.route = operation.route
        call.expect_method("POST")
        engine = self._repository.find(target.model, parse_version(target.version))
        call.manifest = engine.manifest
        operation.check(call)
        return operation, engine

    def _check_wait(self, call: Call) -> None:
        if call.waited > self._settings.max_wait and call.method == "POST":  # cheap requests are answered late
            message = f"the service is overloaded: this request waited {call.waited:.3g} s to be read"
            raise Overloaded(f"{message}; try again shortly", retry_after=1)

    def refusal(self, call: Call, error: BaseException) -> Reply | None:
        """Return the answer in place of a call that failed; None if its caller has disconnected."""
        if isinstance(error, CallerGone):
            call.status = DISCONNECTED
            return None
        if isinstance(error, asyncio.CancelledError):  # the drain timeout of a shutdown is over
            error = NotReady("the service stopped before the answer was ready")
        elif not isinstance(error, DropserveError):
            log.error("unexpected error", path=call.path[:200], request_id=call.request_id.decode(), exc_info=error)
            error = DropserveError(INTERNAL_ERROR)
        reply = refusal(error) if is_open_inference(call.path) else error_reply(error)
        if isinstance(error, Unauthenticated) and (page := key_page(call, error.message)):
            return Reply(page, CONTENT_TYPE, (*reply.headers, *HEADERS), reply.status)
        return reply

    def end(self, call: Call, exchange: Exchange, reply: Reply | None) -> None:
        """Send the answer to a call of this turn, and record its end together with those of others."""
        if reply:
            call.status = reply.status
            if self._cors:  # as the answers have that pass through the middleware
                reply = replace(reply, headers=(*reply.headers, VARY))
            exchange.reply(reply, call.request_id)
        self._ended.append(call)

    def _end_calls(self) -> None:
        ended, self._ended = self._ended, []
        if ended:
            self._admission.end(ended)


class Received(Pending[Reply]):
    """A complete request for inference, which is answered in its turn."""

    __slots__ = ("_body", "_destination", "_engine", "_exchange", "_gate", "record")

    record: Call

    def __init__(
        self, gate: Gate, call: Call, exchange: Exchange, destination: Destination, engine: Engine, body: bytes
    ) -> None:
        """Answer a call on its exchange."""
        self.record = call
        self._gate = gate
        self._exchange = exchange
        self._destination = destination
        self._engine = engine
        self._body = body

    def decode(self, job: Job) -> tuple[Request, Encode[Reply]]:
        """Return the request and the encoder of its answer. Raises DeadlineExceeded."""
        destination = self._destination
        check_deadline(destination.timeout - (perf_counter() - self.record.started))
        return destination.operation.decode(self.record, self._engine, self._body, job)

    def answer(self, content: Reply) -> None:
        """Send the encoded answer."""
        self._gate.end(self.record, self._exchange, content)

    def add_stages(self, watch: Stopwatch) -> None:
        """Take the stages of the turn as those of the request."""
        self.record.watch = watch

    def refuse(self, error: Exception) -> None:
        """Send an error in place of the answer."""
        self._gate.end(self.record, self._exchange, self._gate.refusal(self.record, error))

    def defer(self) -> None:
        """Let the ASGI application answer, with the work in a thread."""
        self._exchange.run_app()


def read_path(path: str) -> Target | None:
    """Return the target of a path of inference, or None for another path."""
    if target := OF_DEFAULT.get(path):
        return target
    if match := PATH.fullmatch(path):
        of_v1, of_v2 = match.groups()[:3], match.groups()[3:]
        return Target(*(of_v1 if of_v1[2] else of_v2))
    return None


def is_open_inference(path: str) -> bool:
    """Return whether a path is below /v2, where requests and errors have the protocol's form."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")
