"""What is noted of a request, by whichever protocol it came: for whoever counts, logs or traces requests."""

import itertools
import re
import secrets
from collections.abc import Mapping
from time import perf_counter

from service.engine.stages import Stopwatch
from service.model.manifest import Manifest
from service.telemetry.outcomes import Outcome

OTHER = "other"
"""The route of paths that are not known, so that callers cannot make up names of metrics."""
REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
PROCESS = secrets.token_hex(4).encode()
NUMBERS = itertools.count()
EXPLORATORY = b"dropserve-exploratory"
"""The header of a caller who tries something out."""


class Record:
    """One request, from its beginning to its end. gRPC's are requests of HTTP too, and are noted as such."""

    __slots__ = (
        "caller",
        "headers",
        "manifest",
        "method",
        "outcome",
        "path",
        "request_id",
        "route",
        "started",
        "status",
        "watch",
    )

    def __init__(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.request_id = _request_id(headers.get(b"x-request-id"))
        self.started = perf_counter()
        self.watch = Stopwatch()
        self.status = 0
        """Of HTTP; 0 until it is answered."""
        self.route = OTHER
        self.caller: str | None = None
        """The name of the key that was shown."""
        self.manifest: Manifest | None = None
        """Of the model that answers, once it is known."""
        self.outcome: Outcome | None = None
        """What it answered."""

    @property
    def exploratory(self) -> bool:
        """Whether its rows are made up to be looked at, so that they say nothing of the data that comes in."""
        return self.headers.get(EXPLORATORY) == b"1"


def _request_id(given: bytes | None) -> bytes:
    """The caller's own, so that he finds his request in the logs, or a new one: this process's, and a number in it."""
    if given is not None and REQUEST_ID.fullmatch(given):
        return given
    return b"%s%08x" % (PROCESS, next(NUMBERS))
