"""How many connections the limit of open files leaves room for."""

import resource
from math import inf

import structlog

OTHER_FILES = 256
"""File descriptors for all that is no connection over HTTP: models, logs, stores, listening sockets, gRPC."""

log = structlog.get_logger(__name__)


def room_for(connections: int) -> int:
    """Return how many of so many connections have a file descriptor, with the process's own limit raised for them."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = (inf if limit == resource.RLIM_INFINITY else limit for limit in limits)
    allowed = min(connections + OTHER_FILES, hard)
    if soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(allowed), limits[1]))
    room = min(connections, max(int(allowed) - OTHER_FILES, int(allowed) // 2))
    if room < connections:
        log.warning("the system's limit of open files allows fewer connections", max_connections=room, files=allowed)
    return room
