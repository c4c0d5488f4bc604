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
    """Return events as structlog's JSONRenderer does, in a tenth of the time."""
    return "".join([_to_json(event) for event in events])


def format_in_colours(events: Sequence[msgspec.Struct]) -> str:
    """Return events as structlog does on a terminal."""
    return "".join(f"{_in_colours(None, '', msgspec.to_builtins(event))}\n" for event in events)


def _to_json(event: msgspec.Struct) -> str:
    """Return a line in printable ASCII, as other characters may end a line or control a terminal."""
    line = _encoder.encode(event)
    if not line.isascii() or DELETE in line:
        return f"{json.dumps(msgspec.to_builtins(event))}\n"
    return f"{msgspec.json.format(line, indent=0).decode()}\n"
