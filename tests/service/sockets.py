"""Raw bytes to a server, and what it says to them."""

import socket
import ssl
import time

import httpx

from tests.conftest import PATIENCE


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


def said_to(client: httpx.Client, *pieces: bytes, apart: float = 0.1) -> bytes:
    """All that the server says until it hangs up; pieces are sent so many seconds apart, to be read apart."""
    said = b""
    with connected(client) as connection:
        try:
            for number, piece in enumerate(pieces):
                time.sleep(apart if number else 0)
                connection.sendall(piece)
        except OSError:
            pass  # it hung up before it had all
        try:
            while got := connection.recv(2**16):
                said += got
        except ConnectionResetError:
            pass
    return said
