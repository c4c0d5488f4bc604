"""The listening sockets, bound by the parent process before anything is loaded."""

import errno
import os
import socket
from contextlib import ExitStack
from ipaddress import ip_address

from service.config import InvalidSettings

ATTEMPTS = 10
"""Number of attempts to find a port that is free at all addresses of a host."""
ANY_IPV6 = "::"


def bind(host: str, port: int, setting: str = "port") -> list[socket.socket]:
    """Bind a socket for each address of a host; `::` means all IPv4 and IPv6 addresses.

    Port 0 takes a port that is free at all of them. Raises InvalidSettings that names `host` or `setting`, the
    setting of the port.
    """
    addresses = _resolve(host, port)
    for _ in range(ATTEMPTS):
        try:
            return _bind_all(addresses)
        except OSError as error:
            if port == 0 and error.errno == errno.EADDRINUSE:
                continue
            raise _explain(error, host, port, setting) from None
    raise InvalidSettings({setting: f"found no port that is free at all addresses of {host}"})


def find_port(sockets: list[socket.socket]) -> int:
    """Return the port of bound sockets."""
    port: int = sockets[0].getsockname()[1]
    return port


def is_loopback(host: str) -> bool:
    """Return whether a host is reachable from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def format_host(host: str) -> str:
    """Return a host as in URLs, IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


def _resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[object, ...]]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        expected = "expected an address of this machine or a name of it, without scheme and port"
        raise InvalidSettings({"host": f"{expected}, found {host!r}: {reason}"}) from None
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _bind_all(addresses: list[tuple[socket.AddressFamily, tuple[object, ...]]]) -> list[socket.socket]:
    """Bind the addresses that this machine has. Raises OSError where one is in use, or where it has none of them."""
    sockets: list[socket.socket] = []
    absent = OSError(errno.EADDRNOTAVAIL, "")
    with ExitStack() as undo:
        for family, (host, port, *scope) in addresses:
            try:
                bound = undo.enter_context(socket.socket(family))
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != ANY_IPV6)
                bound.bind((host, port or (find_port(sockets) if sockets else 0), *scope))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                absent = error
            else:
                sockets.append(bound)
        if not sockets:
            raise absent
        undo.pop_all()
    return sockets


def _explain(error: OSError, host: str, port: int, setting: str) -> InvalidSettings:
    reasons = {
        errno.EADDRINUSE: f"expected a free port, found {port}, on which another process listens at {host}",
        errno.EACCES: f"expected a port on which this user may listen, found {port}",
    }
    if error.errno in reasons:
        return InvalidSettings({setting: reasons[error.errno]})
    expected = f"expected an address of this machine, found {host!r}"
    return InvalidSettings({"host": f"{expected}: {os.strerror(error.errno or 0)}"})
