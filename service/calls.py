"""One HTTP request and its answer, on bare ASGI: what the hot path needs of HTTP, and no more."""

import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from time import perf_counter
from typing import Any

from service.errors import BodyTooLarge, CallerGone, InvalidInput, UnsupportedMediaType
from service.stages import Stopwatch

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON = b"application/json"
REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")


class Call:
    """A request being answered."""

    __slots__ = ("_receive", "_send", "headers", "method", "path", "request_id", "started", "status", "watch")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.request_id = _request_id(self.headers.get(b"x-request-id"))
        self.started = perf_counter()
        self.watch = Stopwatch()
        self.status = 0
        self._receive = receive
        self._send = send

    async def body(self, max_bytes: int) -> bytes:
        """The whole body, read no further than allowed; raises BodyTooLarge or CallerGone."""
        if int(self.headers.get(b"content-length", b"0")) > max_bytes:
            raise BodyTooLarge(f"the body: expected at most {max_bytes} bytes", limit=max_bytes)
        message = await self._receive()
        if not message.get("more_body") and message["type"] == "http.request":
            content: bytes = message.get("body", b"")
            return _limited(content, max_bytes)
        return await self._rest_of_body(message, max_bytes)

    async def _rest_of_body(self, message: Message, max_bytes: int) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            if message["type"] == "http.disconnect":
                raise CallerGone("the caller hung up while sending")
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > max_bytes:
                raise BodyTooLarge(f"the body: expected at most {max_bytes} bytes", limit=max_bytes)
            if not message.get("more_body"):
                return b"".join(chunks)
            message = await self._receive()

    async def gone(self) -> None:
        """Returns when the caller has hung up; to be awaited once the body has been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def reply(
        self, content: bytes, status: int = 200, content_type: bytes = JSON, headers: Iterable[Header] = ()
    ) -> None:
        """Send the answer."""
        self.status = status
        start = {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", content_type),
                (b"content-length", str(len(content)).encode()),
                (b"x-request-id", self.request_id),
                *headers,
            ],
        }
        await self._send(start)
        await self._send({"type": "http.response.body", "body": content})

    async def send_on(self, message: Message) -> None:
        """Send what another app answers, with the request's id."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.request_id)]
        await self._send(message)

    def expect_json(self) -> None:
        """Raises UnsupportedMediaType when the body is said to be something else."""
        found = self.headers.get(b"content-type", JSON)
        if found != JSON and (kind := found.partition(b";")[0].strip().lower()) != JSON:
            message = f"content-type: expected application/json, found {kind.decode('latin-1')}"
            raise UnsupportedMediaType(message, field="content-type", expected="application/json")

    def seconds_allowed(self, default: float) -> float:
        """The deadline asked for by `X-Request-Timeout`, never later than the service's own."""
        asked = self.headers.get(b"x-request-timeout")
        if asked is None:
            return default
        try:
            seconds = float(asked)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            raise InvalidInput(
                f"x-request-timeout: expected seconds > 0, found {asked.decode('latin-1')}", field="x-request-timeout"
            )
        return min(seconds, default)


def _limited(content: bytes, max_bytes: int) -> bytes:
    if len(content) > max_bytes:
        raise BodyTooLarge(f"the body: expected at most {max_bytes} bytes", limit=max_bytes)
    return content


def _request_id(given: bytes | None) -> bytes:
    """The caller's own, so that he finds his request in the logs, or a new one."""
    if given is not None and REQUEST_ID.fullmatch(given):
        return given
    return secrets.token_hex(8).encode()
