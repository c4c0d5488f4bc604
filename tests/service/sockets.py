"""Raw bytes to a server, and what it says to them."""

import socket
import time

import httpx

from tests.conftest import PATIENCE


def address(client: httpx.Client) -> tuple[str, int]:
    return client.base_url.host, client.base_url.port or 80


def said_to(client: httpx.Client, *pieces: bytes, apart: float = 0.1) -> bytes:
    """All that the server says until it hangs up; pieces are sent so many seconds apart, to be read apart."""
    said = b""
    with socket.create_connection(address(client), timeout=PATIENCE) as connection:
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
