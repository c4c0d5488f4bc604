"""The outermost ASGI app: identify, authorise and time every HTTP request, and answer every error in one form.

Inference goes directly to its handler and paths below /v2 to the Open Inference Protocol's; FastAPI answers all
others.
"""

import asyncio

import structlog

from service.access.admission import DISCONNECTED, Admission
from service.access.calls import WAITED, ASGIApp, Call, Receive, Scope, Send
from service.access.keys import needed_scope
from service.access.refusals import INTERNAL_ERROR, error_reply
from service.errors import CallerGone, DropserveError, NotReady, Overloaded, Unauthenticated, UnknownPath
from service.http.key_page import CONTENT_TYPE, HEADERS, key_page
from service.http.predict_routes import PredictRoutes, read_path
from service.oip.http import PREFIX, OpenInference, refusal
from service.telemetry.records import OTHER

log = structlog.get_logger(__name__)


class Gate:
    """The outermost ASGI app, around FastAPI's."""

    def __init__(
        self,
        app: ASGIApp,
        predict_routes: PredictRoutes,
        open_inference: OpenInference,
        admission: Admission,
        max_wait: float,
    ) -> None:
        """Route requests to `app` or to an inference handler; requests older than `max_wait` seconds are refused."""
        self.app = app
        self._predict_routes = predict_routes
        self._open_inference = open_inference
        self._admission = admission
        self._max_wait = max_wait

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; other messages, such as lifespan, go to FastAPI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        call = Call(scope, receive, send)
        self._admission.begin(call)
        try:
            if not call.path.isprintable():  # a newline at the end of a path passes routers, but breaks log lines
                raise UnknownPath("the path has control characters; /docs lists all paths")
            if self._admission.guarded:  # saves the lookup of the scope
                self._admission.check(call, needed_scope(call.path))
            await self._answer(call, scope, receive)
        except CallerGone:
            call.status = DISCONNECTED
        except DropserveError as error:
            await self._refuse(call, error)
        except asyncio.CancelledError:  # the drain timeout of a shutdown is over
            await self._refuse(call, NotReady("the service stopped before the answer was ready"))
        except Exception as error:
            log.error("unexpected error", path=call.path[:200], exc_info=error)
            await self._refuse(call, DropserveError(INTERNAL_ERROR))
        finally:
            self._admission.end([call])

    async def _answer(self, call: Call, scope: Scope, receive: Receive) -> None:
        waited = scope.get(WAITED, 0.0)
        if waited > self._max_wait and call.method == "POST":  # cheap requests are answered late
            message = f"the service is overloaded: this request waited {waited:.3g} s to be read; try again shortly"
            raise Overloaded(message, retry_after=1)
        target = read_path(call.path)
        if target is None and is_open_inference(call.path):
            await self._open_inference.answer(call)
            return
        if target is None:
            scope["call"] = call  # for routes that read a body or the caller's name
            if call.method == "HEAD":
                scope = {**scope, "method": "GET"}  # the server omits the body
            await self.app(scope, receive, call.send_on)
            call.route = getattr(scope.get("route"), "path", OTHER)
            return
        call.expect_method("POST")
        await self._predict_routes.answer(call, target)

    async def _refuse(self, call: Call, error: DropserveError) -> None:
        if call.status:
            return  # too late: the answer has begun
        form = refusal if is_open_inference(call.path) else error_reply
        status, content, headers = form(error)
        if isinstance(error, Unauthenticated) and (page := key_page(call, error.message)):
            await call.reply(page, status, CONTENT_TYPE, [*headers, *HEADERS])
            return
        await call.reply(content, status, headers=headers)


def is_open_inference(path: str) -> bool:
    """Return whether a path is below /v2, where requests and errors have the protocol's form."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")
