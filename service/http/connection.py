"""HTTP/1.1 over one connection: `Connection` is the protocol that uvicorn calls, `Exchange` one request on it.

The server promises (uvicorn's own protocols rely on no more): it calls the class with `config`, `server_state`,
`app_state` and `_loop`, and its connections, which add themselves to `server_state.connections`, for `shutdown()`.
The application's lifespan fills `app_state`: `limits` is a `Limits`, `drain` a `Drain`; both have defaults.
"""

import asyncio
import fcntl
import re
import socket
import struct
import sys
import termios
from collections import deque
from collections.abc import Iterable
from functools import partial
from math import inf
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote

import structlog
from httptools import (
    HttpParserError,
    HttpParserInvalidURLError,
    HttpParserUpgrade,
    HttpRequestParser,
    parse_url,
)

from service.access.calls import ANNOUNCED, BODY, WAITED, ASGIApp, Header, Message, Scope
from service.access.refusals import MISTAKE, error_reply
from service.errors import DropserveError, HeadTooLarge, MalformedHead, SlowHead
from service.http.draining import Drain
from service.http.responses import BODILESS, CHUNKED, CLOSE, CONTINUE, encode_chunk, encode_head

MAX_HEAD_BYTES = 2**16
"""Bytes that may come without completing a head or bringing a piece of a body, which may be long."""

SLICE_BYTES = 4096
"""Bytes parsed at a time: some 200 of the shortest requests, each of which takes 70 times the memory once parsed."""

MAX_BUFFERED_BYTES = 2**16
"""Bytes of a body that wait for the application; reading pauses beyond."""

GRACE = 0.05
"""Seconds from the end of a timeout to the close. Timers come before reads in a turn of the event loop: a request that
came in time, while the process was busy, is read in between."""

RESTED = 1.0
"""Seconds without a request after which a connection may be closed for a new one."""

LAST_DATA_RECEIVED = 52
"""The offset of tcpi_last_data_recv, in milliseconds, in struct tcp_info of linux/tcp.h."""

NO_LINGER = struct.pack("ii", 1, 0)
"""SO_LINGER: on, for no time, so that the kernel drops what was not sent."""

CHUNK_HEAD = re.compile(rb"\n([0-9a-fA-F]{1,16})(?:;[^\n]*)?\r\n\Z")

NO_HTTP = "this is not HTTP/1.1 as the service reads it"

ASGI = {"version": "3.0", "spec_version": "2.3"}

log = structlog.get_logger(__name__)


class Config(Protocol):
    """What is used of `uvicorn.Config`."""

    loaded_app: Any


class ServerState(Protocol):
    """What is used of the state that uvicorn's server shares with its connections."""

    total_requests: int
    connections: set[Any]
    tasks: set[asyncio.Task[None]]
    default_headers: list[Header]


class Limits(NamedTuple):
    """Limits of connections, from the settings."""

    connections: int | None = None
    """The most that a process keeps open."""
    idle_timeout: float = 5.0
    """Seconds in which the next head must arrive, and the client must read some of its answer."""


class Exchange:
    """One request and its answer, as an ASGI application reads and writes them."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_disconnected",
        "_expects_continue",
        "_head",
        "_missing",
        "_news",
        "_waiter",
        "buffered",
        "ended",
        "keep_alive",
        "more_body",
        "pieces",
        "refusal",
        "running",
        "scope",
        "started",
    )

    def __init__(self, connection: "Connection", scope: Scope, *, keep_alive: bool, expects_continue: bool) -> None:
        self._connection = connection
        self.scope = scope
        self.keep_alive = keep_alive
        """Whether another request may follow on the connection."""
        self.running = False
        """Whether the application was called."""
        self.refusal: DropserveError | None = None
        """What is answered in place of the application, where the rest of the request is invalid."""
        self.ended = False
        """Whether the answer is complete, or the client gone."""
        self._disconnected = False

        # the request
        self.pieces: list[bytes] = []
        """Of its body, not yet taken by the application."""
        self.buffered = 0
        self.more_body = True
        self._expects_continue = expects_continue
        self._news = False
        """Whether something has come since the application last took a message."""
        self._waiter: asyncio.Future[None] | None = None

        # the answer
        self.started = False
        self._head = b""
        """Kept until some of the body follows, or nothing."""
        self._chunked = False
        self._missing: float = 0
        """Bytes of the body still to be sent; infinity where only its end tells."""

    async def run(self, app: ASGIApp) -> None:
        """Call the application; an answer that it leaves incomplete ends the connection."""
        try:
            await app(self.scope, self.receive, self.send)
        except Exception as error:
            log.error("unexpected error", path=self.scope["path"][:200], exc_info=error)
        finally:
            if not self.ended:
                self._connection.give_up(self)

    async def receive(self) -> Message:
        """Return the next ASGI message: what has come of the body, or that the client is gone or answered."""
        if self._expects_continue and self.more_body and not (self.started or self.ended):
            self._expects_continue = False
            self._connection.transport.write(CONTINUE)
        while not (self._news or self.ended):
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self.ended:
            return {"type": "http.disconnect"}
        self._news = False
        body, self.pieces, self.buffered = b"".join(self.pieces), [], 0
        self._connection.control_reading()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        """Write an ASGI message, the head together with the first of the body. Raises RuntimeError where the
        application breaks the order of messages or its own Content-Length.
        """
        if self._connection.write_paused:
            await self._connection.writable.wait()
        if self._disconnected:
            return
        kind = message["type"]
        if kind == "http.response.start" and not self.started:
            self.started = True
            self._start(message["status"], message.get("headers", ()))
        elif kind == "http.response.body" and self.started and not self.ended:
            self._write(message.get("body", b""), last=not message.get("more_body", False))
        else:
            raise RuntimeError(f"unexpected ASGI message {kind!r}")

    def announce(self, size: int) -> None:
        """Tell the application how long the chunk will be that has begun."""
        self.scope[ANNOUNCED] = size
        self.wake()

    def disconnect(self) -> None:
        """End the exchange without the rest of its answer."""
        self.ended = self._disconnected = True
        self.wake()

    def wake(self) -> None:
        """Let the application receive what has come."""
        self._news = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _start(self, status: int, headers: Iterable[Header]) -> None:
        """Keep the head until a piece of the body follows; decide how the body ends and whether the connection does."""
        lines = [*self._connection.server_state.default_headers, *headers]
        fields = dict(lines)
        if b"close" in fields.get(b"connection", b""):
            self.keep_alive = False
        elif not self.keep_alive or self._connection.ends_with(self):
            self.keep_alive = False
            lines.append(CLOSE)
        if self.scope["method"] == "HEAD" or status in BODILESS:
            self._missing = 0
        elif (length := fields.get(b"content-length")) is not None:
            self._missing = int(length)
        else:
            self._missing = inf
            self._chunked = self.scope["http_version"] != "1.0"  # else the connection's end tells
            if self._chunked:
                lines.append(CHUNKED)
        self._head = encode_head(status, lines)

    def _write(self, content: bytes, *, last: bool) -> None:
        if self.scope["method"] == "HEAD":
            content = b""
        self._missing -= len(content)
        if self._missing < 0 or (last and 0 < self._missing < inf):
            raise RuntimeError("the body of the answer is not as long as its Content-Length")
        if self._chunked:
            content = encode_chunk(content, last=last)
        head, self._head = self._head, b""
        self._connection.transport.write(head + content)
        if last:
            self.ended = True
            self.wake()
            self._connection.finish(self)


class Connection(asyncio.Protocol):
    """One connection of a client: bytes are parsed to exchanges, which are answered one after another, in order.

    Reading pauses while a request waits for the answer to another, while too much of a body waits for the application,
    and for ever once something was refused that is no request: what was accepted before is answered first.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.server_state = server_state
        self.drain: Drain = app_state.get("drain") or Drain()
        self._app: ASGIApp = config.loaded_app
        self._app_state = app_state
        self._limits: Limits = app_state.get("limits") or Limits()
        self._loop = _loop or asyncio.get_running_loop()

        # the connection
        self.transport: asyncio.Transport
        self._socket: socket.socket
        self._addresses: dict[str, Any] = {}
        """Server, client and scheme, as an ASGI scope has them."""
        self._timer: asyncio.TimerHandle | None = None
        """Runs as long as the connection, and looks at `_due`."""
        self._due = inf
        """When the next head must be complete, in the loop's time; counts while nothing is being answered."""
        self._single = False
        """Whether its first request is its last, as there are too many connections."""
        self._stopping = False
        """Whether it closes once what has come is answered."""

        # requests
        self._exchanges: deque[Exchange] = deque()
        """Those not answered yet: the first is being answered, the others wait."""
        self._incoming: Exchange | None = None
        """The one whose body is not complete; it may be answered already."""
        self._unread = b""
        """Bytes behind the requests that wait, not parsed yet."""
        self._refused = False
        """Whether nothing more is read."""
        self._read_paused = False

        # the head that is being parsed
        self._parser = _make_parser(self)
        self._begun = False
        """Whether some of it has come."""
        self._url = b""
        self._headers: list[Header] = []
        self._idle_bytes = 0
        """Bytes parsed since the last head was complete or the last piece of a body came."""
        self._chunk_bytes: int | None = None
        """Bytes of a chunk that came together with its head; None once it is complete or announced."""
        self._line_ended = False
        """Whether the bytes of an incomplete request so far end a line."""

        # writing
        self.write_paused = False
        self.writable = asyncio.Event()
        self._stalled: asyncio.TimerHandle | None = None
        """Runs while the client reads too slowly."""

    # called by the event loop and by uvicorn

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, with room made for the connection among the others."""
        self.transport = transport
        self._socket = transport.get_extra_info("socket")
        self._addresses = {
            "server": _address(transport.get_extra_info("sockname")),
            "client": _address(transport.get_extra_info("peername")),
            "scheme": "https" if transport.get_extra_info("sslcontext") else "http",
        }
        connections = self.server_state.connections
        connections.add(self)
        if self._limits.connections is not None and len(connections) > self._limits.connections:
            longest_idle: Connection = min(connections, key=Connection.idle_since)
            self._single = not longest_idle.make_room(self._loop.time())
        self._due = self._loop.time() + self._limits.idle_timeout
        self._timer = self._loop.call_at(self._due, self._check_idle)

    def data_received(self, data: bytes) -> None:
        """Parse slice by slice, until a request waits for the answer to another; begin to answer the first."""
        data, self._unread = self._unread + data, b""
        for start in range(0, len(data), SLICE_BYTES):
            if self._refused:
                break
            if len(self._exchanges) > 1:
                self._unread = data[start:]
                break
            self._parse(data[start : start + SLICE_BYTES])
        self._serve()
        self.control_reading()

    def connection_lost(self, _: Exception | None) -> None:
        """End what is being answered: the client is gone."""
        self.server_state.connections.discard(self)
        self._abandon()
        for timer in (self._timer, self._stalled):
            if timer is not None:
                timer.cancel()
        self.resume_writing()

    def shutdown(self) -> None:
        """Close once everything that has come is answered; at once where that is nothing."""
        self._stopping = True
        if not self._exchanges and not self._has_unread():
            self.close()

    def pause_writing(self) -> None:
        """Have the application wait, and close the connection if the client reads nothing for the idle timeout."""
        self.write_paused = True
        self.writable.clear()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Have the application go on: the client has read most of its answer."""
        self.write_paused = False
        self.writable.set()
        if self._stalled is not None:
            self._stalled.cancel()

    # called by the parser

    def on_message_begin(self) -> None:
        """Begin a head, which must be complete within the idle timeout."""
        self._begun = True
        self._url = b""
        self._headers = []
        self._due = self._loop.time() + self._limits.idle_timeout

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request's target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer, which nothing reads."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Make an exchange of the head. Raises MalformedHead."""
        parser, version = self._parser, self._parser.get_http_version()
        method = parser.get_method().decode("ascii")
        if parser.should_upgrade():
            if method == "CONNECT":
                raise MalformedHead("CONNECT: the service is no proxy")
            return  # the head is parsed once more, without its upgrade
        _check_head(version, self._headers)
        path, query = _split_target(self._url)
        scope: Scope = {
            "type": "http",
            "asgi": ASGI,
            "http_version": version,
            "method": method,
            "path": unquote(path) if "%" in path else path,
            "raw_path": path.encode(),
            "query_string": query,
            "root_path": "",
            "headers": self._headers,
            "state": self._app_state.copy(),
            **self._addresses,
        }
        if not self._exchanges:  # what was sent ahead waited for the client's own requests
            scope[WAITED] = self._seconds_waited()
        self._incoming = Exchange(
            self,
            scope,
            keep_alive=version != "1.0" and not self._single and parser.should_keep_alive(),
            expects_continue=version != "1.0" and dict(self._headers).get(b"expect", b"").lower() == b"100-continue",
        )
        self._exchanges.append(self._incoming)
        self._headers = []
        self._begun = False
        self._idle_bytes = 0

    def on_body(self, piece: bytes) -> None:
        """Hand a piece of the body to the application, unless it has answered already."""
        self._idle_bytes = 0
        if self._chunk_bytes is not None:
            self._chunk_bytes += len(piece)
        exchange = self._incoming
        if exchange and not exchange.ended:
            exchange.pieces.append(piece)
            exchange.buffered += len(piece)
            exchange.wake()

    def on_message_complete(self) -> None:
        """The body is complete."""
        if self._incoming:  # not so where the head is parsed once more
            self._incoming.more_body = False
            self._incoming.wake()
            self._incoming = None

    def on_chunk_header(self) -> None:
        """Count what comes of a chunk together with its head."""
        self._chunk_bytes = 0

    def on_chunk_complete(self) -> None:
        """Nothing of the chunk is left to be announced."""
        self._chunk_bytes = None

    # called by exchanges

    def ends_with(self, exchange: Exchange) -> bool:
        """Return whether this answer is the last: the process ends, and nothing else has come."""
        return (self._stopping or self.drain.closing) and self._exchanges[-1] is exchange and not self._unread

    def finish(self, exchange: Exchange) -> None:
        """Go on to the next request, the exchange being complete."""
        self.server_state.total_requests += 1
        self._exchanges.popleft()
        if not exchange.keep_alive:
            self.close()
            return
        self._due = self._loop.time() + self._limits.idle_timeout
        if self._read_paused:
            self.data_received(b"")

    def give_up(self, exchange: Exchange) -> None:
        """End the connection, the application having ended before its answer did."""
        if exchange.started:
            self.close()
        else:
            self._write_refusal(DropserveError(MISTAKE))

    def control_reading(self) -> None:
        """Pause reading or go on with it, as the state has it."""
        incoming = self._incoming
        full = incoming is not None and not incoming.ended and incoming.buffered > MAX_BUFFERED_BYTES
        pause = self._refused or full or len(self._exchanges) > 1 or bool(self._unread)
        if pause == self._read_paused or self.transport.is_closing():
            return
        self._read_paused = pause
        if pause:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def close(self) -> None:
        """End the connection once what was written is sent."""
        self._refused = True
        self._abandon()
        if self._timer is not None:
            self._timer.cancel()
        self.transport.close()

    # reading

    def _parse(self, data: bytes) -> None:
        self._idle_bytes += len(data)
        try:
            while data:
                try:
                    self._parser.feed_data(data)
                    break
                except HttpParserUpgrade as upgrade:
                    data = self._take_head_without_upgrade() + data[upgrade.args[0] :]
        except HttpParserError as error:
            found = error.__context__  # by one of the methods that the parser calls
            self._refuse(found if isinstance(found, MalformedHead) else MalformedHead(f"{NO_HTTP}: {error}"))
            return
        if self._chunk_bytes is not None:
            self._announce_chunk(data)
        self._line_ended = self._incoming is not None and data.endswith(b"\n")
        if self._idle_bytes > MAX_HEAD_BYTES:
            self._refuse(HeadTooLarge(f"the head: expected at most {MAX_HEAD_BYTES} bytes", limit=MAX_HEAD_BYTES))

    def _take_head_without_upgrade(self) -> bytes:
        """Return the head that was parsed last, to be parsed once more and answered in HTTP/1.1 (RFC 9110, 7.8).

        The parser ends such a request behind its head, and would take its body for the next request, which behind a
        proxy may be another client's.
        """
        method, version = self._parser.get_method(), self._parser.get_http_version().encode()
        lines = [b"%s: %s\r\n" % header for header in self._headers if header[0] != b"upgrade"]
        self._parser = _make_parser(self)  # the old one reads nothing behind `connection: close`
        return b"%s %s HTTP/%s\r\n%s\r\n" % (method, self._url, version, b"".join(lines))

    def _announce_chunk(self, data: bytes) -> None:
        """Tell the application of a chunk that is not complete, which reaches from its head to the end of the data.

        The parser does not tell the length; where the head itself comes in pieces, it stays unknown.
        """
        head = b"\n" * self._line_ended + data[: len(data) - (self._chunk_bytes or 0)]
        if self._incoming and (size := CHUNK_HEAD.search(head)):
            self._incoming.announce(int(size[1], 16))
        self._chunk_bytes = None

    # answering

    def _serve(self) -> None:
        """Begin with the first request that is not answered, unless it is being answered."""
        if not self._exchanges or self._exchanges[0].running:
            return
        exchange = self._exchanges[0]
        exchange.running = True
        if exchange.refusal:
            self._write_refusal(exchange.refusal)
            return
        if not exchange.more_body:
            exchange.scope[BODY] = b"".join(exchange.pieces)
        task = self._loop.create_task(exchange.run(self._app))
        self.server_state.tasks.add(task)
        task.add_done_callback(self.server_state.tasks.discard)

    def _refuse(self, error: DropserveError) -> None:
        """Read nothing more, and answer what is no request in its turn: never within an answer, nor behind the answer
        to the same request. Where requests came whole before it, the answers to them are the last.
        """
        self._refused = True
        incoming = self._incoming
        if not self._exchanges and not self._begun:  # nothing has come, or the rest of what was answered
            self.close()
            return
        log.warning("no request", code=error.code, reason=error.message)
        if not self._exchanges:
            self._write_refusal(error)
        elif incoming is None or incoming.started:
            self._exchanges[-1].keep_alive = False
        elif incoming.running:
            self._write_refusal(error)
        else:
            incoming.refusal = error
        self.control_reading()

    def _write_refusal(self, error: DropserveError) -> None:
        """Answer in place of the application, and close."""
        status, content, headers = error_reply(error)
        lines = [
            *self.server_state.default_headers,
            *(header for header in headers if header != CLOSE),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(content)),
            CLOSE,
        ]
        self.transport.write(encode_head(status, lines) + content)
        self.close()

    def _abandon(self) -> None:
        for exchange in self._exchanges:
            exchange.disconnect()
        self._exchanges.clear()

    # timeouts and limits

    def idle_since(self) -> float:
        """Return when the last answer was complete; infinity while one is made or read, or the connection closes."""
        if self._exchanges or self.transport.is_closing() or self.transport.get_write_buffer_size():
            return inf
        return self._due - self._limits.idle_timeout

    def make_room(self, now: float) -> bool:
        """Close this connection, if it has been idle and nothing has come, in favour of another."""
        idle = now - self.idle_since() >= RESTED and not self._has_unread()
        if idle:
            self.close()
        return idle

    def _check_idle(self, *, again: bool = False) -> None:
        """Close an idle connection, or refuse an incomplete head, once what came in time is read."""
        now = self._loop.time()
        if self._exchanges:
            self._due = now + self._limits.idle_timeout
        if now < self._due:
            self._timer = self._loop.call_at(self._due, self._check_idle)
        elif not again:
            self._timer = self._loop.call_later(GRACE, partial(self._check_idle, again=True))
        else:
            self._refuse(SlowHead(f"the head: did not arrive within {self._limits.idle_timeout:g} s"))

    def _watch_reader(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        self._stalled = self._loop.call_later(self._limits.idle_timeout, self._check_reader, unsent)

    def _check_reader(self, unsent: int) -> None:
        """Drop a connection whose client has read nothing meanwhile."""
        if self.transport.get_write_buffer_size() < unsent:
            self._watch_reader()
        else:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            self.transport.abort()

    def _has_unread(self) -> bool:
        """Return whether bytes have come that were not read from the socket yet."""
        return fcntl.ioctl(self._socket, termios.FIONREAD, bytes(4)) != bytes(4)

    def _seconds_waited(self) -> float:
        """Return how long the newest bytes waited in the socket, where the kernel tells: on Linux. 2 µs."""
        if sys.platform != "linux":
            return 0.0
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, LAST_DATA_RECEIVED + 4)
        return float(struct.unpack_from("I", info, LAST_DATA_RECEIVED)[0]) / 1e3


def _make_parser(connection: Connection) -> HttpRequestParser:
    parser = HttpRequestParser(connection)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)  # which is parsed, and never answered
    return parser


def _address(name: object) -> tuple[str, int] | None:
    """Return host and port, of IPv6 too, as ASGI has them."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None


def _split_target(url: bytes) -> tuple[str, bytes]:
    """Return path, not decoded, and query of a request's target. Raises MalformedHead."""
    try:
        target = parse_url(url)
        return (target.path or b"/").decode("ascii"), target.query or b""
    except (HttpParserInvalidURLError, UnicodeDecodeError):
        raise MalformedHead("expected a path in ASCII behind the method") from None


def _check_head(version: str, headers: list[Header]) -> None:
    """Raises MalformedHead: HTTP/0.9 has no head; HTTP/1.1 has one host, and a body in chunks is not of HTTP/1.0
    (RFC 9112, 3.2 and 6.1).
    """
    names = [name for name, _ in headers]
    hosts = names.count(b"host")
    if version == "0.9":
        raise MalformedHead("expected HTTP/1.1 behind the path")
    if hosts > 1 or (version == "1.1" and not hosts):
        raise MalformedHead(f"host: expected one, found {hosts}")
    if version == "1.0" and b"transfer-encoding" in names:
        raise MalformedHead("transfer-encoding: expected none in HTTP/1.0")
