"""Raw bytes to a server, and what it says to them."""

import fcntl
import socket
import ssl
import sys
import termios
from pathlib import Path

import httpx

from tests.conftest import PATIENCE, wait_until


def address(client: httpx.Client) -> tuple[str, int]:
    return client.base_url.host, client.base_url.port or 80


def connected(client: httpx.Client) -> socket.socket:
    """A connection, over TLS where the client's are."""
    connection = socket.create_connection(address(client), timeout=PATIENCE)
    if client.base_url.scheme == "http":
        return connection
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    return trusting.wrap_socket(connection)


def said_to(client: httpx.Client, *pieces: bytes) -> bytes:
    """All that the server says until it hangs up; each piece is sent once the one before it was read."""
    said = b""
    with connected(client) as connection:
        try:
            connection.sendall(pieces[0])
            for piece in pieces[1:]:
                wait_until(lambda: is_read(connection))
                connection.sendall(piece)
        except OSError:
            pass  # it hung up before it had all
        try:
            while got := connection.recv(2**16):
                said += got
        except ConnectionResetError:
            pass
    return said


def is_read(connection: socket.socket) -> bool:
    """Whether the server, on this machine, has read all that was sent, or closed its end."""
    arrived = unsent_bytes(connection) == 0
    here, there = connection.getsockname()[1], connection.getpeername()[1]
    ends = (line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:])
    unread = [queues for _, local, remote, _, queues, *_ in ends if (port(local), port(remote)) == (there, here)]
    return not unread or (arrived and all(int(queues.split(":")[1], 16) == 0 for queues in unread))


def port(address: str) -> int:
    return int(address.split(":")[1], 16)


def unsent_bytes(connection: socket.socket) -> int:
    """Those that have not reached the other end's kernel."""
    return int.from_bytes(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
