"""The heads of requests. A head is parsed and routed once: clients repeat theirs to the byte."""

from typing import Literal, NamedTuple

from service.access.bodies import Operation
from service.access.calls import Header

END = b"\r\n\r\n"

MAX_KNOWN = 1024
"""The number of known heads beyond which all are forgotten."""

MAX_KNOWN_BYTES = 4096
"""The length of the longest head that is remembered."""

MAX_KNOWN_HEADERS = 64
"""The most headers of a head that is remembered: short ones take 20 times their bytes once parsed."""


class Destination(NamedTuple):
    """The operation and the model to which the gate routes a head of inference."""

    operation: Operation
    path: str
    """The path without the prefix of a proxy."""
    model: str | None
    version: int | None
    timeout: float
    """Seconds from the arrival of a request to its deadline."""


class Head:
    """The head of a request."""

    __slots__ = (
        "admitted",
        "destination",
        "expects_continue",
        "fields",
        "headers",
        "keep_alive",
        "method",
        "path",
        "query",
        "raw_path",
        "version",
    )

    def __init__(self, method: str, target: tuple[str, str, bytes], headers: list[Header], version: str) -> None:
        """Take the parsed parts; the target is the path, the path before it was decoded, and the query."""
        self.method = method
        self.path, self.raw_path, self.query = target
        self.headers = headers
        """With names in lower case, in their order."""
        self.fields = dict(headers)
        """The last value of each header."""
        self.version = version
        """The version of HTTP: "1.1" or "1.0"."""
        self.keep_alive = True
        """Whether another request may follow on the connection."""
        self.expects_continue = version != "1.0" and self.fields.get(b"expect", b"").lower() == b"100-continue"
        """Whether the client waits for 100 Continue before it sends the body."""
        self.admitted: tuple[object, str | None] = (None, None)
        """The keys that were in force when the head's key was last found right, and the key's name."""
        self.destination: Destination | Literal[False] | None = None
        """The destination, once the gate has found it; False if the request is left to ASGI."""


class KnownHeads:
    """Heads by their bytes, of requests whose bodies had a Content-Length and were received together with the head."""

    def __init__(self) -> None:
        """Begin without heads."""
        self._heads: dict[bytes, tuple[Head, int]] = {}
        """Each head, and the length of the body."""

    def find(self, data: bytes) -> tuple[Head, bytes] | None:
        """Return the known head and the body of the only request in the data."""
        end = data.find(END) + len(END)
        found = self._heads.get(data[:end])
        if found is None or len(data) != end + found[1]:
            return None
        return found[0], data[end:]

    def add(self, data: bytes, head: Head) -> None:
        """Remember the head of the only request in the data, if it says where the request ends."""
        length, end = head.fields.get(b"content-length"), data.find(END) + len(END)
        framed_otherwise = b"transfer-encoding" in head.fields or b"expect" in head.fields
        long = end > MAX_KNOWN_BYTES or len(head.headers) > MAX_KNOWN_HEADERS
        if length is None or framed_otherwise or not head.keep_alive or long:
            return
        if len(data) != end + int(length):  # the head ends elsewhere
            return
        if len(self._heads) >= MAX_KNOWN:
            self._heads.clear()
        self._heads[data[:end]] = head, int(length)
