"""Ports for processes that need one before they start."""

import secrets
import socket
from contextlib import suppress


def free_port() -> int:
    """Of those that neither the system gives to connections, nor Ray to its workers: it stays free until it is used."""
    for port in secrets.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as taken, suppress(OSError):
            taken.bind(("", port))
            return port
    raise AssertionError("no port is free")
