"""How long a request had waited in the system before the process came to read it: where more come than can be
answered, on new connections above all, they wait there, where nothing else of the service sees them.
"""

import socket
import struct
import sys

from service.access.calls import WAITED, Scope
from service.errors import Overloaded
from service.http.crowding import Counted

LAST_DATA_RECEIVED = 52
"""Where struct tcp_info of linux/tcp.h has tcpi_last_data_recv, in milliseconds."""
INFO_BYTES = LAST_DATA_RECEIVED + 4


class Timed(Counted):
    """One connection, each of whose requests bears how long it waited. On Linux; elsewhere none did.

    This is what the server speaks, the last of a chain of classes in this package, each of which adds one thing:

        Timed             waiting     each request knows how long it waited to be read
        Counted           crowding    a process keeps so many connections
        InTurn            pipelining  few of the requests that are sent ahead are read at a time
        Patient           patience    who neither asks nor takes what he is told is left
        BoundedHeads      heads       a head is bounded, and names one host
        Chunked           chunks      a chunk's length is known before it comes
        Refusing          refusing    what is no request is refused, in its turn
        Joining           joining     the head and the body of an answer are one write
        Changeless        changeless  what asks for another protocol is answered in this one
        HttpToolsProtocol uvicorn's   HTTP/1.1, with llhttp for its parser
    """

    def on_headers_complete(self) -> None:
        """2 µs. What was sent ahead waited for its sender's own requests, and is not counted."""
        if sys.platform == "linux" and (self.cycle is None or self.cycle.response_complete):
            info = self.tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, INFO_BYTES)
            self.scope[WAITED] = struct.unpack_from("I", info, LAST_DATA_RECEIVED)[0] / 1e3  # type: ignore[literal-required]
        super().on_headers_complete()


def check_wait(scope: Scope, most: float) -> None:
    """Raise Overloaded for a question that waited too long already: so those behind it need not, and who is answered
    is answered in time. Health, and what else is looked at and costs little, is answered late rather.
    """
    waited = scope.get(WAITED, 0.0)
    if waited > most and scope["method"] == "POST":
        message = f"more is asked than can be answered: this waited {waited:.3g} s to be read; try again shortly"
        raise Overloaded(message, retry_after=1)
