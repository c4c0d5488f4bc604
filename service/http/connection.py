"""HTTP/1.1 over one connection: `Connection` is the protocol that uvicorn calls, `Exchange` one request on it.

The bytes that all connections receive in a turn of the event loop are parsed at its end. A complete request for
inference goes directly to the turn, which answers it at once; every other request goes to the ASGI application.

The contract with uvicorn, whose own protocols rely on no more: it calls the class with `config`, `server_state`,
`app_state` and `_loop`, and calls `shutdown()` of the connections in `server_state.connections`, which add themselves.
The application's lifespan fills `app_state`: `limits` is a `Limits`, `drain` a `Drain`, `turns` a `Turns`, `take` is
`Gate.take` and `known_heads` a `KnownHeads`; all have defaults.
"""

import asyncio
import fcntl
import re
import socket
import struct
import sys
import termios
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, Protocol
from urllib.parse import unquote

import msgspec
import structlog
from httptools import (
    HttpParserError,
    HttpParserInvalidURLError,
    HttpParserUpgrade,
    HttpRequestParser,
    parse_url,
)

from service.access.calls import ANNOUNCED, BODY, WAITED, ASGIApp, Header, Message, Reply, Scope
from service.access.refusals import INTERNAL_ERROR, error_reply
from service.errors import DropserveError, HeadTooLarge, MalformedHead, SlowHead
from service.http.draining import Drain
from service.http.heads import Head, KnownHeads
from service.http.responses import BODILESS, CHUNKED, CLOSE, CONTINUE, encode_chunk, encode_head, encode_whole
from service.turn import Turns

MAX_HEAD_BYTES = 2**16
"""The most bytes to read without a complete head or a piece of a body."""

SLICE_BYTES = 4096
"""Bytes parsed at a time, about 200 of the shortest requests, each of which takes 70 times the memory once parsed."""

MAX_BUFFERED_BYTES = 2**16
"""Bytes of a body buffered for the application, beyond which reading pauses."""

GRACE = 0.05
"""Seconds from the end of a timeout to the close. The event loop runs timers before reads, so a request that arrived in
time while the process was busy is read in between."""

MIN_IDLE = 1.0
"""Seconds without a request after which a connection may be closed for a new one."""

LAST_DATA_RECEIVED = 52
"""The offset of tcpi_last_data_recv, in milliseconds, in struct tcp_info of linux/tcp.h."""

NO_LINGER = struct.pack("ii", 1, 0)
"""SO_LINGER: on, for no time, so that the kernel drops unsent bytes."""

CHUNK_HEAD = re.compile(rb"\n([0-9a-fA-F]{1,16})(?:;[^\n]*)?\r\n\Z")

NO_HTTP = "the request is not valid HTTP/1.1"

ASGI = {"version": "3.0", "spec_version": "2.3"}

log = structlog.get_logger(__name__)


class Config(Protocol):
    """The part of `uvicorn.Config` in use."""

    loaded_app: Any


class ServerState(Protocol):
    """The part in use of the state that uvicorn's server shares with its connections."""

    total_requests: int
    connections: set[Any]
    tasks: set[asyncio.Task[None]]
    default_headers: list[Header]


@dataclass(slots=True)
class Limits:
    """Limits of the connections of a process, from the settings."""

    connections: int | None = None
    """The largest number of open connections; None: no limit."""
    idle_timeout: float = 5.0
    """Seconds within which the next head must arrive, and the client must read some of its answer."""
    _next_search: float = 0.0
    """The loop's time before which no connection can be idle long enough to be closed."""

    def have_room(self, connections: Collection["Connection"], now: float) -> bool:
        """Return whether a further connection may stay open, if need be by closing the one idle for longest.

        A search looks at all connections: one for each new connection would stop the event loop for minutes in a flood.
        """
        if self.connections is None or len(connections) <= self.connections:
            return True
        if now < self._next_search:
            return False
        longest_idle = min(connections, key=lambda connection: connection.idle_since())
        has_room = longest_idle.make_room(now)
        if not has_room:
            self._next_search = min(longest_idle.idle_since(), now) + MIN_IDLE
        return has_room


class Exchange(msgspec.Struct, eq=False):
    """One request and its answer, with the `receive` and `send` of its ASGI application."""

    _connection: "Connection"
    head: Head
    waited: float
    """Seconds that the request waited in the socket."""
    keep_alive: bool
    """Whether another request may follow on the connection."""
    running: bool = False
    """Whether the answer is being made."""
    refusal: DropserveError | None = None
    """The error to answer in place of the application, if the rest of the request is invalid."""
    ended: bool = False
    """Whether the answer is complete, or the client disconnected."""
    _disconnected: bool = False
    _scope: Scope | None = None

    # the request
    pieces: list[bytes] = []
    """Pieces of the body not yet received by the application."""
    buffered: int = 0
    """Bytes of these pieces."""
    more_body: bool = True
    _told_to_continue: bool = False
    _news: bool = False
    """Whether there is a new message for the application."""
    _waiter: asyncio.Future[None] | None = None

    # the answer
    started: bool = False
    _answer_head: bytes = b""
    """The head of the answer, written together with the first piece of the body."""
    _chunked: bool = False
    _missing: float = 0.0
    """Bytes of the body still to be sent; infinity without a Content-Length."""

    @property
    def scope(self) -> Scope:
        """The request as an ASGI scope."""
        if self._scope is None:
            head = self.head
            self._scope = {
                "type": "http",
                "asgi": ASGI,
                "http_version": head.version,
                "method": head.method,
                "path": head.path,
                "raw_path": head.raw_path.encode(),
                "query_string": head.query,
                "root_path": "",
                "headers": head.headers.copy(),
                **self._connection.surroundings(),
                WAITED: self.waited,
            }
        return self._scope

    def run_app(self) -> None:
        """Let the ASGI application answer, in a task."""
        if not self.more_body:
            self.scope[BODY] = b"".join(self.pieces)
        self._connection.start(self._run())

    def reply(self, reply: Reply, request_id: bytes) -> None:
        """Write a whole answer, unless the client has disconnected."""
        if self.ended:
            return
        connection = self._connection
        headers = ((b"content-type", reply.content_type), *reply.headers)
        if not self.keep_alive or connection.ends_with(self):
            self.keep_alive = False
            headers = (*headers, CLOSE)
        default = connection.server_state.default_headers
        connection.transport.write(encode_whole(reply.status, (*default, *headers), request_id, reply.content))
        self.ended = True
        connection.finish(self)

    async def _run(self) -> None:
        """Call the application; an incomplete answer ends the connection."""
        app = self._connection.app
        try:
            await app(self.scope, self.receive, self.send)
        except Exception as error:
            log.error("unexpected error", path=self.head.path[:200], exc_info=error)
        finally:
            if not self.ended:
                self._connection.give_up(self)

    async def receive(self) -> Message:
        """Return the next ASGI message: the bytes received of the body, or the end of the exchange."""
        waits = self.head.expects_continue and not self._told_to_continue
        if waits and self.more_body and not (self.started or self.ended):
            self._told_to_continue = True
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
        """Write an ASGI message, the head together with the first piece of the body.

        Raises RuntimeError if the application breaks the order of messages or its own Content-Length.
        """
        if self._connection.write_paused:
            await self._connection.writable.wait()
        if self._disconnected:
            return
        kind = message["type"]
        if kind == "http.response.start" and not self.started:
            self._start(message["status"], message.get("headers", ()))
            self.started = True
        elif kind == "http.response.body" and self.started and not self.ended:
            self._write(message.get("body", b""), last=not message.get("more_body", False))
        else:
            raise RuntimeError(f"unexpected ASGI message {kind!r}")

    def take_body(self, body: bytes) -> None:
        """Take the whole body of the request."""
        self.pieces = [body]
        self.more_body = False
        self.wake()

    def announce(self, size: int) -> None:
        """Pass the length of an incomplete chunk on to the application."""
        self.scope[ANNOUNCED] = size
        self.wake()

    def disconnect(self) -> None:
        """End the exchange without the rest of its answer."""
        self.ended = self._disconnected = True
        self.wake()

    def wake(self) -> None:
        """Resume the application's `receive`."""
        self._news = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _start(self, status: int, headers: Iterable[Header]) -> None:
        """Keep the head until the first piece of the body, and decide how the body and the connection end."""
        lines = [*self._connection.server_state.default_headers, *headers]
        fields = dict(lines)
        if b"close" in fields.get(b"connection", b""):
            self.keep_alive = False
        elif not self.keep_alive or self._connection.ends_with(self):
            self.keep_alive = False
            lines.append(CLOSE)
        if self.head.method == "HEAD" or status in BODILESS:
            self._missing = 0
        elif (length := fields.get(b"content-length")) is not None:
            self._missing = int(length)
        else:
            self._missing = inf
            self._chunked = self.head.version != "1.0"  # else the end of the connection ends the body
            if self._chunked:
                lines.append(CHUNKED)
        self._answer_head = encode_head(status, lines)

    def _write(self, content: bytes, *, last: bool) -> None:
        if self.head.method == "HEAD":
            content = b""
        self._missing -= len(content)
        if self._missing < 0 or (last and 0 < self._missing < inf):
            raise RuntimeError("the body of the answer is not as long as its Content-Length")
        if self._chunked:
            content = encode_chunk(content, last=last)
        head, self._answer_head = self._answer_head, b""
        self._connection.transport.write(head + content)
        if last:
            self.ended = True
            self.wake()
            self._connection.finish(self)


class Connection(asyncio.Protocol):
    """A client's connection: bytes are parsed to exchanges, which are answered in order.

    Reading pauses while a request waits for the answer to an earlier one and while much of a body is buffered. It ends
    after invalid bytes; the requests before them are answered first.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Take uvicorn's configuration and shared state, and the state of the application's lifespan."""
        self.server_state = server_state
        self.app: ASGIApp = config.loaded_app
        self.drain: Drain = app_state.get("drain") or Drain()
        self._app_state = app_state
        self._limits: Limits = app_state.get("limits") or Limits()
        self._loop = _loop or asyncio.get_running_loop()
        self._turns: Turns | None = app_state.get("turns")
        self._read_later = self._turns.read_later if self._turns else self._loop.call_soon
        self._known_heads: KnownHeads = app_state.get("known_heads") or KnownHeads()
        self._take: Callable[[Exchange, bytes], bool] = app_state.get("take", lambda _, __: False)

        # the connection
        self.transport: asyncio.Transport
        self._socket: socket.socket
        self._addresses: dict[str, Any] = {}
        """Server, client and scheme of an ASGI scope."""
        self._timer: asyncio.TimerHandle | None = None
        """A timer that runs as long as the connection, and checks `_due`."""
        self._due = inf
        """The loop's time at which the next head must be complete, unless a request is being answered."""
        self._fresh = True
        """Whether no head is complete yet."""
        self._single = False
        """Whether its first request is its last, as the connection limit is reached."""
        self._stopping = False
        """Whether it closes once all received requests are answered."""

        # requests
        self._exchanges: deque[Exchange] = deque()
        """The unanswered exchanges: the first is being answered, the others wait."""
        self._incoming: Exchange | None = None
        """The exchange whose request body is incomplete; it may be answered already."""
        self._unread = b""
        """Received bytes not parsed yet: those of this turn, or those after the waiting requests."""
        self._read_soon = False
        """Whether received bytes are to be parsed at the end of this turn."""
        self._refused = False
        """Whether reading has ended."""
        self._read_paused = False

        # the head that is being parsed
        self._parser = _make_parser(self)
        self._begun = False
        """Whether some of the head was received."""
        self._url = b""
        self._headers: list[Header] = []
        self._idle_bytes = 0
        """Bytes parsed since the last complete head or piece of a body."""
        self._chunk_bytes: int | None = None
        """Bytes of a chunk received together with its head; None once it is complete or announced."""
        self._line_ended = False
        """Whether the bytes received of an incomplete request end with a line."""

        # writing
        self.write_paused = False
        self.writable = asyncio.Event()
        self._stalled: asyncio.TimerHandle | None = None
        """A timer that runs while the client reads too slowly."""

    # called by the event loop and by uvicorn

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Register the connection, within the connection limit, and start its timer."""
        self.transport = transport
        self._socket = transport.get_extra_info("socket")
        self._addresses = {
            "server": _address(transport.get_extra_info("sockname")),
            "client": _address(transport.get_extra_info("peername")),
            "scheme": "https" if transport.get_extra_info("sslcontext") else "http",
        }
        connections = self.server_state.connections
        connections.add(self)
        now = self._loop.time()
        self._single = not self._limits.have_room(connections, now)
        self._due = now + self._limits.idle_timeout
        self._timer = self._loop.call_at(self._due, self._check_idle)

    def data_received(self, data: bytes) -> None:
        """Keep the bytes until the end of this turn of the event loop, unless they are many."""
        self._unread += data
        if not self._read_soon:
            self._read_soon = True
            self._read_later(self._read)
        if len(self._unread) > MAX_BUFFERED_BYTES:
            self._read()

    def eof_received(self) -> bool:
        """Answer the requests received, and close after the answers of this turn, unless the connection has TLS."""
        self._loop.call_soon(self.transport.close)
        return self.transport.get_extra_info("sslcontext") is None  # with TLS the answers cannot be awaited

    def _read(self) -> None:
        """Parse the received bytes, and begin to answer the first request."""
        self._read_soon = False
        if self.transport.is_closing():
            return
        data, self._unread = self._unread, b""
        if self._refused or self._exchanges or self._incoming or self._begun:
            self._parse_slices(data)
        elif known := self._known_heads.find(data):
            head, body = known
            self._begin(head).take_body(body)
        else:
            self._parse_slices(data)
            if self._exchanges and not (self._refused or self._incoming or self._begun or len(self._exchanges) > 1):
                self._known_heads.add(data, self._exchanges[0].head)
        self._serve()
        self.control_reading()

    def connection_lost(self, _: Exception | None) -> None:
        """End all exchanges, as the client has disconnected."""
        self.server_state.connections.discard(self)
        self._abandon()
        for timer in (self._timer, self._stalled):
            if timer is not None:
                timer.cancel()
        self.resume_writing()

    def shutdown(self) -> None:
        """Close once all received requests are answered, at once if there are none."""
        self._stopping = True
        if not self._exchanges and not self._has_unread():
            self.close()

    def pause_writing(self) -> None:
        """Let the application wait, and close the connection if the client reads nothing for the idle timeout."""
        self.write_paused = True
        self.writable.clear()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Let the application continue, as the client has read most of its answer."""
        self.write_paused = False
        self.writable.set()
        if self._stalled is not None and not self.transport.is_closing():
            self._stalled.cancel()

    # called by the parser

    def on_message_begin(self) -> None:
        """Begin a head, which must be complete within the idle timeout."""
        self._begun = True
        self._url = b""
        self._headers = []
        self._due = self._loop.time() + self._limits.idle_timeout

    def on_url(self, url: bytes) -> None:
        """Add a piece of the request's target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header, or a trailer, which is ignored."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Add an exchange for the head. Raises MalformedHead."""
        parser, version = self._parser, self._parser.get_http_version()
        method = parser.get_method().decode("ascii")
        if parser.should_upgrade():
            if method == "CONNECT":
                raise MalformedHead("CONNECT: the service is not a proxy")
            return  # the head is parsed again, without its upgrade
        _check_head(version, self._headers)
        head = Head(method, _split_target(self._url), self._headers, version)
        head.keep_alive = version != "1.0" and parser.should_keep_alive()
        self._incoming = self._begin(head)
        self._headers = []
        self._begun = False
        self._idle_bytes = 0

    def on_body(self, piece: bytes) -> None:
        """Add a piece of the body to its request, unless that is answered already."""
        self._idle_bytes = 0
        if self._chunk_bytes is not None:
            self._chunk_bytes += len(piece)
        exchange = self._incoming
        if exchange and not exchange.ended:
            exchange.pieces.append(piece)
            exchange.buffered += len(piece)
            exchange.wake()

    def on_message_complete(self) -> None:
        """Mark the body as complete."""
        if self._incoming:  # none if the head is parsed again
            self._incoming.more_body = False
            self._incoming.wake()
            self._incoming = None

    def on_chunk_header(self) -> None:
        """Begin to count the bytes of a chunk received together with its head."""
        self._chunk_bytes = 0

    def on_chunk_complete(self) -> None:
        """Stop counting, as a complete chunk need not be announced."""
        self._chunk_bytes = None

    # called by exchanges

    def start(self, answering: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine as a task, which a shutdown awaits."""
        task = self._loop.create_task(answering)
        self.server_state.tasks.add(task)
        task.add_done_callback(self.server_state.tasks.discard)

    def surroundings(self) -> Scope:
        """Return the part of an ASGI scope that is the same for all requests."""
        return {**self._addresses, "state": self._app_state.copy()}

    def ends_with(self, exchange: Exchange) -> bool:
        """Return whether this answer is the last one: the process is stopping, and there is no further request."""
        return (self._stopping or self.drain.closing) and self._exchanges[-1] is exchange and not self._unread

    def finish(self, exchange: Exchange) -> None:
        """Continue with the next request after a complete exchange."""
        self.server_state.total_requests += 1
        self._exchanges.popleft()
        if not exchange.keep_alive:
            self.close()
            return
        self._due = self._loop.time() + self._limits.idle_timeout
        if self._read_paused:  # as it is while a request waits
            self._read()
        if self._stopping:
            self.shutdown()

    def give_up(self, exchange: Exchange) -> None:
        """End the connection, as the application ended without a complete answer."""
        if exchange.started:
            self.close()
        else:
            self._write_refusal(DropserveError(INTERNAL_ERROR))

    def control_reading(self) -> None:
        """Pause or resume reading, by the state of the connection."""
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
        """End the connection after the written bytes are sent, or once the client reads none for the idle timeout."""
        self._refused = True
        self._abandon()
        if self._timer is not None:
            self._timer.cancel()
        self._watch_reader()
        self.transport.close()

    # reading

    def _parse_slices(self, data: bytes) -> None:
        """Parse slice by slice until a request waits for an earlier one."""
        for start in range(0, len(data), SLICE_BYTES):
            if self._refused:
                break
            if len(self._exchanges) > 1:
                self._unread = data[start:]
                break
            self._parse(data[start : start + SLICE_BYTES])

    def _begin(self, head: Head) -> Exchange:
        """Add the exchange of a complete head.

        The time that its request waited in the socket is measured only where it can be long: not shortly after the
        previous turn, unless the connection is new, nor behind the client's own requests.
        """
        prompt = self._turns is not None and self._turns.is_prompt and not self._fresh
        waited = 0.0 if prompt or self._exchanges else self._seconds_waited()
        self._fresh = False
        exchange = Exchange(self, head, waited, keep_alive=head.keep_alive and not self._single)
        self._exchanges.append(exchange)
        return exchange

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
            found = error.__context__  # raised by a method that the parser called
            self._refuse(found if isinstance(found, MalformedHead) else MalformedHead(f"{NO_HTTP}: {error}"))
            return
        if self._chunk_bytes is not None:
            self._announce_chunk(data)
        self._line_ended = self._incoming is not None and data.endswith(b"\n")
        if self._idle_bytes > MAX_HEAD_BYTES:
            self._refuse(HeadTooLarge(f"the head: expected at most {MAX_HEAD_BYTES} bytes", limit=MAX_HEAD_BYTES))

    def _take_head_without_upgrade(self) -> bytes:
        """Return the last head without its protocol upgrade, which the service refuses by HTTP/1.1 (RFC 9110, 7.8).

        The parser ends a request with an upgrade after its head, and would read the body as another request, which
        after a proxy may belong to another client.
        """
        method, version = self._parser.get_method(), self._parser.get_http_version().encode()
        lines = [b"%s: %s\r\n" % header for header in self._headers if header[0] != b"upgrade"]
        self._parser = _make_parser(self)  # the old one stops after `connection: close`
        return b"%s %s HTTP/%s\r\n%s\r\n" % (method, self._url, version, b"".join(lines))

    def _announce_chunk(self, data: bytes) -> None:
        """Pass the length of an incomplete chunk, from its head in the data, on to the application.

        The parser does not report the length; if the chunk's head itself arrives in pieces, it stays unknown.
        """
        head = b"\n" * self._line_ended + data[: len(data) - (self._chunk_bytes or 0)]
        if self._incoming and (size := CHUNK_HEAD.search(head)):
            self._incoming.announce(int(size[1], 16))
        self._chunk_bytes = None

    # answering

    def _serve(self) -> None:
        """Begin to answer the first unanswered request, unless that has begun."""
        if not self._exchanges or self._exchanges[0].running:
            return
        exchange = self._exchanges[0]
        exchange.running = True
        if exchange.refusal:
            self._write_refusal(exchange.refusal)
            return
        complete = not (exchange.more_body or self.write_paused)
        if not (complete and self._take(exchange, b"".join(exchange.pieces))):
            exchange.run_app()

    def _refuse(self, error: DropserveError) -> None:
        """End reading, and answer an invalid request with an error in its order.

        The error is never written within an answer, nor after the answer to the same request. After complete requests
        the answers to them are the last.
        """
        self._refused = True
        incoming = self._incoming
        if not self._exchanges and not self._begun:  # there is no request, or only the rest of one already answered
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
        reply = error_reply(error)
        to_head = bool(self._exchanges) and self._exchanges[0].head.method == "HEAD"
        lines = [
            *self.server_state.default_headers,
            *(header for header in reply.headers if header != CLOSE),
            (b"content-type", reply.content_type),
            (b"content-length", b"%d" % len(reply.content)),
            CLOSE,
        ]
        self.transport.write(encode_head(reply.status, lines) + (b"" if to_head else reply.content))
        self.close()

    def _abandon(self) -> None:
        for exchange in self._exchanges:
            exchange.disconnect()
        self._exchanges.clear()

    # timeouts and limits

    def idle_since(self) -> float:
        """Return when the last answer was complete; infinity while one is in progress, or the connection closes."""
        if self._exchanges or self._unread or self.transport.is_closing() or self.transport.get_write_buffer_size():
            return inf
        return self._due - self._limits.idle_timeout

    def make_room(self, now: float) -> bool:
        """Close this connection if it is idle, in favour of another, and return whether it was."""
        idle = now - self.idle_since() >= MIN_IDLE and not self._has_unread()
        if idle:
            self.close()
        return idle

    def _check_idle(self, *, again: bool = False) -> None:
        """Close an idle connection, or refuse an incomplete head, after reading all bytes that arrived in time."""
        now = self._loop.time()
        if self._exchanges or self._read_soon:
            self._due = now + self._limits.idle_timeout
        if now < self._due:
            self._timer = self._loop.call_at(self._due, self._check_idle)
        elif not again:
            self._timer = self._loop.call_later(GRACE, partial(self._check_idle, again=True))
        else:
            self._refuse(SlowHead(f"the head: did not arrive within {self._limits.idle_timeout:g} s"))

    def _watch_reader(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
        if unsent := self.transport.get_write_buffer_size():
            self._stalled = self._loop.call_later(self._limits.idle_timeout, self._check_reader, unsent)

    def _check_reader(self, unsent: int) -> None:
        """Abort a connection whose client has read nothing in the meantime."""
        if self.transport.get_write_buffer_size() < unsent:
            self._watch_reader()
        else:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            self.transport.abort()

    def _has_unread(self) -> bool:
        """Return whether the socket has bytes to read."""
        return bool(self._unread) or fcntl.ioctl(self._socket, termios.FIONREAD, bytes(4)) != bytes(4)

    def _seconds_waited(self) -> float:
        """Return how long the newest bytes waited in the socket, in seconds, on Linux; it takes 2 µs."""
        if sys.platform != "linux":
            return 0.0
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, LAST_DATA_RECEIVED + 4)
        return float(struct.unpack_from("I", info, LAST_DATA_RECEIVED)[0]) / 1e3


def _make_parser(connection: Connection) -> HttpRequestParser:
    parser = HttpRequestParser(connection)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)  # such data is parsed, but never answered
    return parser


def _address(name: object) -> tuple[str, int] | None:
    """Return host and port of an IPv4 or IPv6 address for an ASGI scope."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None


def _split_target(url: bytes) -> tuple[str, str, bytes]:
    """Return the decoded and the undecoded path, and the query of a request's target. Raises MalformedHead."""
    try:
        target = parse_url(url)
        path = (target.path or b"/").decode("ascii")
    except (HttpParserInvalidURLError, UnicodeDecodeError):
        raise MalformedHead("expected a path in ASCII after the method") from None
    return unquote(path) if "%" in path else path, path, target.query or b""


def _check_head(version: str, headers: list[Header]) -> None:
    """Raise MalformedHead for HTTP/0.9, a missing or repeated host, or chunks in HTTP/1.0 (RFC 9112, 3.2 and 6.1)."""
    names = [name for name, _ in headers]
    hosts = names.count(b"host")
    if version == "0.9":
        raise MalformedHead("expected HTTP/1.1 after the path")
    if hosts > 1 or (version == "1.1" and not hosts):
        raise MalformedHead(f"host: expected one, found {hosts}")
    if version == "1.0" and b"transfer-encoding" in names:
        raise MalformedHead("transfer-encoding: expected none in HTTP/1.0")
