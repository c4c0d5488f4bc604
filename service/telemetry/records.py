"""The record of a request over any protocol, for metrics, logs and traces."""

import itertools
import re
import secrets
from collections.abc import Mapping
from time import perf_counter

from service.engine.stages import Stopwatch
from service.model.manifest import Manifest
from service.telemetry.outcomes import Outcome

OTHER = "other"
"""The route of unknown paths, so that callers cannot create labels of metrics."""
REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
PROCESS = secrets.token_hex(4).encode()
NUMBERS = itertools.count()
EXPLORATORY = b"dropserve-exploratory"
"""The header of requests with invented rows."""


class Record:
    """The record of one request over HTTP, or over gRPC, whose calls are HTTP requests too."""

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
        """Begin the record of a request; names of headers are in lower case."""
        self.method = method
        self.path = path
        self.headers = headers
        given = headers.get(b"x-request-id")
        self.request_id = given if given and REQUEST_ID.fullmatch(given) else b"%s%08x" % (PROCESS, next(NUMBERS))
        """The caller's own id if it is valid, or a new one of this process's token and a number."""
        self.started = perf_counter()
        self.watch = Stopwatch()
        self.status = 0
        """The HTTP status; 0 until the request is answered."""
        self.route = OTHER
        self.caller: str | None = None
        """The name of the API key used."""
        self.manifest: Manifest | None = None
        """The manifest of the model, once it is known."""
        self.outcome: Outcome | None = None
        """The answer's figures."""

    @property
    def exploratory(self) -> bool:
        """Whether its rows are invented, so that metrics of the data leave them out."""
        return self.headers.get(EXPLORATORY) == b"1"
