"""The lines of events that are logged in great number, without structlog: in JSON, or in colours on a terminal."""

import json
from collections.abc import Callable, Sequence

import msgspec
import structlog

FormatEvents = Callable[[Sequence[msgspec.Struct]], str]
"""A function that returns a line for each event, whose fields are those of the line."""

DELETE = b"\x7f"
"""The one control character that JSON allows unescaped."""

_encoder = msgspec.json.Encoder()
_in_colours = structlog.dev.ConsoleRenderer()


def format_as_json(events: Sequence[msgspec.Struct]) -> str:
    """Return events of one class as structlog's JSONRenderer does, in a small part of the time.

    Lines are in printable ASCII, as other characters may end a line or control a terminal.
    """
    content = msgspec.json.format(_encoder.encode(events), indent=0)
    if not content.isascii() or DELETE in content:
        return "".join([f"{json.dumps(msgspec.to_builtins(event))}\n" for event in events])
    first = b'{"%s": ' % type(events[0]).__struct_fields__[0].encode()
    # no string contains the place between two events, as its quotes are escaped
    lines = content[1:-1].replace(b"}, " + first, b"}\n" + first) + b"\n"
    return lines.decode()


def format_in_colours(events: Sequence[msgspec.Struct]) -> str:
    """Return events as structlog does on a terminal."""
    return "".join(f"{_in_colours(None, '', msgspec.to_builtins(event))}\n" for event in events)
