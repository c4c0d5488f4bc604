"""The lines of events that are logged in great number, without structlog: in JSON, or in colours on a terminal."""

import json
from collections.abc import Callable, Sequence

import msgspec
import structlog

FormatEvents = Callable[[Sequence[msgspec.Struct]], bytes]
"""A function that returns a line for each event, whose fields are those of the line."""

SEPARATORS = (",", ":")
"""Of JSON without spaces."""

DELETE = b"\x7f"
"""The one control character that JSON allows unescaped."""

_encoder = msgspec.json.Encoder()
_in_colours = structlog.dev.ConsoleRenderer()


def format_as_json(events: Sequence[msgspec.Struct]) -> bytes:
    """Return events as structlog's JSONRenderer does, in a small part of the time.

    Lines are in printable ASCII, as other characters may end a line or control a terminal.
    """
    lines = _encoder.encode_lines(events)
    if lines.isascii() and DELETE not in lines:
        return lines
    plain = [json.dumps(msgspec.to_builtins(event), separators=SEPARATORS) for event in events]
    return "".join([f"{line}\n" for line in plain]).encode()


def format_in_colours(events: Sequence[msgspec.Struct]) -> bytes:
    """Return events as structlog does on a terminal."""
    return "".join(f"{_in_colours(None, '', msgspec.to_builtins(event))}\n" for event in events).encode()
