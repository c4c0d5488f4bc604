"""The last words on a connection: what is no request is refused in the form of all errors, in its turn, and never in
the middle of an answer or behind the answer to the same request.
"""

from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.access.refusals import error_reply
from service.errors import DropserveError, MalformedHead
from service.http.joining import Joining

log = structlog.get_logger(__name__)


class Refusing(Joining):
    """One connection, which ends with the first thing on it that is no request."""

    def send_400_response(self, msg: str) -> None:
        """To what is no HTTP, with the parser's reason."""
        self.refuse(MalformedHead(f"this is not HTTP/1.1 as the service reads it: {msg}"))

    def refuse(self, error: DropserveError) -> None:
        """Read no more, and say so where it is due: what was accepted is answered first, and those answers are the
        last words where the fault lies behind a whole request.
        """
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self.end(error)
        elif cycle.more_body and self.pipeline:  # its own turn is yet to come
            self.pipeline[0] = (cycle, _answer_with(error))
            self._end_with_answers(error)
        elif cycle.more_body and not cycle.response_started:
            self._hang_up(error)
        else:
            self._end_with_answers(error)

    def end(self, error: DropserveError) -> None:
        """Where nothing is being answered. Who began a request is told why; who said nothing, or goes on with one
        that was answered, knows.
        """
        if self.scope is None or (self.cycle and self.scope is self.cycle.scope):
            self.transport.close()
        else:
            self._hang_up(error)

    def _end_with_answers(self, error: DropserveError) -> None:
        _note(error)
        self.cycle.keep_alive = False  # it is the last of those that wait
        self.transport.hold(True)

    def _hang_up(self, error: DropserveError) -> None:
        """No application speaks here."""
        _note(error)
        status, content, headers = error_reply(error)
        lines = [
            *self.server_state.default_headers,
            *headers,
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(content)),
        ]
        told = [b"%s: %s\r\n" % line for line in lines if line[0] != b"connection"]
        self.transport.write(b"".join([STATUS_LINE[status], *told, b"connection: close\r\n\r\n", content]))
        self.transport.close()


def _note(error: DropserveError) -> None:
    """No application counts it."""
    log.warning("no request", code=error.code, reason=error.message)


def _answer_with(error: DropserveError) -> Any:
    """An application that has nothing else to say."""
    status, content, headers = error_reply(error)
    length = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]

    async def app(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [*headers, *length]})
        await send({"type": "http.response.body", "body": content})

    return app
