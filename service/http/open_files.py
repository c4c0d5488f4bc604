"""The number of connections that the system's limit of open files allows."""

import resource
from math import inf

import structlog

OTHER_FILES = 256
"""File descriptors reserved for models, logs, stores, listening sockets and gRPC."""

log = structlog.get_logger(__name__)


def room_for(connections: int) -> int:
    """Raise the process's limit of open files for this many connections, and return how many it allows."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = (inf if limit == resource.RLIM_INFINITY else limit for limit in limits)
    allowed = min(connections + OTHER_FILES, hard)
    if soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(allowed), limits[1]))
    room = min(connections, max(int(allowed) - OTHER_FILES, int(allowed) // 2))
    if room < connections:
        log.warning("the system's limit of open files allows fewer connections", max_connections=room, files=allowed)
    return room
