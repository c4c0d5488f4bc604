"""One HTTP request and its answer on ASGI, with only what the hot path needs."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, MutableMapping
from math import inf
from time import perf_counter
from typing import Any

import msgspec

from service.engine.stages import Stopwatch
from service.errors import BodyTooLarge, CallerGone, InvalidInput, MethodNotAllowed, SlowBody, UnsupportedMediaType
from service.telemetry.records import Record

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Coroutine[Any, Any, Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON = b"application/json"

WAITED = "dropserve.waited"
"""The key in an ASGI scope of the seconds that a request waited in the socket."""
ANNOUNCED = "dropserve.announced"
"""The key in an ASGI scope of the bytes of an incomplete chunk of the body."""
BODY = "dropserve.body"
"""The key in an ASGI scope of the body, if all of it was received with the head."""


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A whole answer over HTTP."""

    content: bytes
    content_type: bytes = JSON
    headers: tuple[Header, ...] = ()
    status: int = 200


class Call(Record):
    """A request over HTTP, and its answer."""

    __slots__ = ("query", "waited")

    def __init__(
        self,
        method: str,
        path: str,
        query: bytes,
        headers: Mapping[bytes, bytes],
        waited: float = 0.0,
        watch: Stopwatch | None = None,
    ) -> None:
        """Begin the record of a request that waited so many seconds in the socket."""
        super().__init__(method, path, headers, watch)
        self.started -= waited
        self.waited = waited
        self.query = query

    def expect_method(self, method: str) -> None:
        """Raise MethodNotAllowed unless the request has this method, or is a HEAD request where GET is allowed."""
        if self.method != method and (self.method, method) != ("HEAD", "GET"):
            message = f"{self.path[:200]}: expected {method}, found {self.method}"
            raise MethodNotAllowed(message, allowed=allow([method]))

    def expect_json(self) -> None:
        """Raise UnsupportedMediaType if the content type is another one than JSON."""
        found = self.headers.get(b"content-type", JSON) or JSON
        if found != JSON and (kind := found.partition(b";")[0].strip().lower()) != JSON:
            message = f"content-type: expected application/json, found {kind.decode('latin-1')}"
            raise UnsupportedMediaType(message, field="content-type", expected="application/json")

    def expect_no_query(self) -> None:
        """Raise InvalidInput for query parameters, which would otherwise be ignored."""
        if self.query:
            name = self.query.partition(b"=")[0].decode("latin-1")[:100]
            raise InvalidInput(f"?{name}: there are no query parameters; fields go into the JSON body", field=name)

    def seconds_left(self, default: float) -> float:
        """Return the seconds from now to the deadline, which is counted from the request's arrival.

        Raises InvalidInput for an invalid timeout.
        """
        return max(0.0, self.timeout(default) - (perf_counter() - self.started))

    def timeout(self, default: float) -> float:
        """Return the seconds of `X-Request-Timeout`, at most `default`. Raises InvalidInput."""
        given = self.headers.get(b"x-request-timeout")
        return default if given is None else min(_parse_timeout(given), default)


class ASGICall(Call):
    """A request over HTTP, and its answer, on ASGI."""

    __slots__ = ("_receive", "_scope", "_send")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin the record of a request."""
        waited = scope.get(WAITED, 0.0)
        super().__init__(scope["method"], scope["path"], scope["query_string"], dict(scope["headers"]), waited)
        self._scope = scope
        self._receive = receive
        self._send = send

    async def body(self, max_bytes: int, seconds: float) -> bytes:
        """Return the whole body, received within `seconds`. Raises BodyTooLarge, SlowBody or CallerGone."""
        length = self.headers.get(b"content-length", b"").lstrip(b"0")  # Python reads 4300 digits at most
        if int(length or b"0") > max_bytes:
            raise too_large(max_bytes)
        content: bytes | None = self._scope.get(BODY)
        if content is None:
            try:
                async with asyncio.timeout(seconds):
                    content = await self._read(max_bytes)
            except TimeoutError:
                raise SlowBody(f"the body: did not arrive within {seconds:.3g} s", seconds=seconds) from None
        elif len(content) > max_bytes:
            raise too_large(max_bytes)
        self.watch.lap("receive")
        return content

    async def _read(self, max_bytes: int) -> bytes:
        """Receive the body piece by piece, up to `max_bytes`."""
        chunks: list[bytes] = []
        left = max_bytes
        while True:
            message = await self._receive()
            if self._scope.get(ANNOUNCED, 0) > max_bytes:
                raise too_large(max_bytes)
            chunks.append(_content(message, left))
            left -= len(chunks[-1])
            if not message.get("more_body"):
                return b"".join(chunks)

    async def gone(self) -> None:
        """Return once the caller has disconnected; to be awaited after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def reply(self, reply: Reply) -> None:
        """Send the answer."""
        self.status = reply.status
        start = {
            "type": "http.response.start",
            "status": reply.status,
            "headers": [
                (b"content-type", reply.content_type),
                (b"content-length", str(len(reply.content)).encode()),
                (b"x-request-id", self.request_id),
                *reply.headers,
            ],
        }
        await self._send(start)
        await self._send({"type": "http.response.body", "body": reply.content})

    async def send_on(self, message: Message) -> None:
        """Send a message of another app, with the request's id."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.request_id)]
        await self._send(message)


def allow(methods: Iterable[str]) -> str:
    """Return the value of the header Allow: wherever GET is allowed, HEAD is too."""
    return ", ".join("GET, HEAD" if method == "GET" else method for method in methods)


def _parse_timeout(text: bytes) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < inf:
        message = f"x-request-timeout: expected a finite number of seconds > 0, found {text.decode('latin-1')}"
        raise InvalidInput(message, field="x-request-timeout")
    return seconds


def _content(message: Message, max_bytes: int) -> bytes:
    if message["type"] == "http.disconnect":
        raise CallerGone("the caller disconnected while sending")
    content: bytes = message.get("body", b"")
    if len(content) > max_bytes:
        raise too_large(max_bytes)
    return content


def too_large(max_bytes: int) -> BodyTooLarge:
    """Return the error of a body with more bytes."""
    return BodyTooLarge(f"the body: expected at most {max_bytes} bytes", limit=max_bytes)
