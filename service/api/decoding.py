"""Decode the JSON of a request, or raise an error that names the field and what was expected.

The rows stay JSON; `service.rows.json_rows` decodes them for a model.
"""

import difflib
import json
import math
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec

from service.api.requests import MAX_JSON_INTEGER, Ablate, AdaptiveSamples, UncertaintyRequest
from service.errors import InvalidInput, InvalidRequest, LimitExceeded, MalformedBody
from service.rows.inputs import FIELD, not_fitting
from service.rows.json_errors import in_words, quoted

MAX_OPTION_BYTES = 2**18
"""The largest size of all fields other than `inputs`; in bodies up to this size, errors locate a NaN exactly."""

NON_FINITE = re.compile(rb"NaN|Infinity")

OTHER_ENCODINGS = {
    BOM_UTF16_LE: "it is UTF-16; expected UTF-8",
    BOM_UTF16_BE: "it is UTF-16; expected UTF-8",
    b"{\0": "it is UTF-16; expected UTF-8",
    b"\0{": "it is UTF-16; expected UTF-8",
    b"\x1f\x8b": "it is gzip without a content-encoding header",
}
"""Explanations of a body that is not JSON, by its first bytes."""

NO_ROWS = msgspec.Raw(b"null")

Request = TypeVar("Request", bound=msgspec.Struct | msgspec.Raw | dict[str, msgspec.Raw])

STRUCTS: dict[str, type[msgspec.Struct]] = {"samples": AdaptiveSamples, "ablate": Ablate}
"""The struct of a nested field, whose field names are listed in errors."""


def decode_request(body: bytes, kind: type[Request]) -> Request:
    """Decode a body to a request of the given kind. Raises MalformedBody, InvalidInput or LimitExceeded."""
    body = body.removeprefix(BOM_UTF8)
    try:
        if len(body) > MAX_OPTION_BYTES and getattr(kind, "__annotations__", {}).get(FIELD) is msgspec.Raw:
            return _decode_long(body, kind)
        return _decoder(kind).decode(body)  # type: ignore[no-any-return, arg-type]
    except msgspec.ValidationError as error:
        raise _invalid_field(str(error), kind) from None
    except msgspec.DecodeError as error:
        raise _not_json(error, body) from None
    except UnicodeDecodeError:
        raise MalformedBody("the body is not UTF-8") from None
    except RecursionError:
        raise MalformedBody("the body is nested too deeply") from None


def read_options(fields: Mapping[str, object]) -> UncertaintyRequest:
    """Return the request that these fields beside `inputs` make; raises InvalidInput, as for a body with them."""
    try:
        return msgspec.convert({FIELD: NO_ROWS, **fields}, UncertaintyRequest)
    except msgspec.ValidationError as error:
        raise _invalid_field(str(error), UncertaintyRequest) from None


@cache
def _decoder(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


@cache
def _raw_decoder(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    """Return a decoder for the same fields that leaves their values as JSON."""
    fields = [(name, msgspec.Raw, msgspec.Raw()) for name in kind.__struct_fields__]
    strict = kind.__struct_config__.forbid_unknown_fields
    return msgspec.json.Decoder(msgspec.defstruct(kind.__name__, fields, forbid_unknown_fields=strict))


def _decode_long(body: bytes, kind: type[Request]) -> Request:
    """Decode the fields other than `inputs` only if they are short enough."""
    fields = msgspec.structs.asdict(_raw_decoder(kind).decode(body))  # type: ignore[arg-type]
    given = {name: raw for name, raw in fields.items() if memoryview(raw).nbytes}
    inputs = given.get(FIELD)
    options = msgspec.json.encode(given | ({FIELD: None} if inputs else {}))
    if len(options) > MAX_OPTION_BYTES:
        message = f"the body: expected at most {MAX_OPTION_BYTES} bytes beside {FIELD}, found {len(options)}"
        raise LimitExceeded(message, given=len(options), limit=MAX_OPTION_BYTES)
    request = _decoder(kind).decode(options)  # type: ignore[arg-type]
    request.inputs = inputs
    return request  # type: ignore[no-any-return]


def _invalid_field(error: str, kind: type[Request]) -> InvalidInput | MalformedBody:
    message, _, path = error.partition(" - at `$")
    field = path.rstrip("`").removeprefix(".").replace("[...]", "")
    inside = f"{field}." if field else ""
    known = list(getattr(STRUCTS.get(re.split(r"[.\[]", field)[0], kind), "__struct_fields__", ()))
    if (name := quoted("Object contains unknown field", message)) is not None:
        nearest = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {nearest[0]}?" if nearest else f"; expected {', '.join(known)}"
        return InvalidInput(f"{inside}{name}: there is no such field{hint}", field=f"{inside}{name}", expected=known)
    if name := quoted("Object missing required field", message):
        return InvalidInput(f"{inside}{name}: is missing", field=f"{inside}{name}")
    if not field:
        return MalformedBody(f"the body: {in_words(message)}")
    if field == "seed":
        return InvalidInput(f'seed: expected a whole number from 0 to {MAX_JSON_INTEGER}, or "random"', field=field)
    return InvalidInput(f"{field}: {in_words(message)}", field=field)


def _not_json(error: msgspec.DecodeError, body: bytes) -> InvalidRequest:
    """Return an error that names the body's actual format where it is recognised."""
    if not body.strip():
        return MalformedBody("the body is empty; expected JSON")
    for start, found in OTHER_ENCODINGS.items():
        if body.startswith(start):
            return MalformedBody(f"the body is not JSON: {found}")
    return _non_finite(error, body) or MalformedBody(f"the body is not JSON: {error}")


def _non_finite(error: msgspec.DecodeError, body: bytes) -> InvalidInput | None:
    """Return an error with the place of a NaN or Infinity, which are not JSON but are written by many clients."""
    if len(body) > MAX_OPTION_BYTES:
        byte = int(found[1]) if (found := re.search(r"\(byte (\d+)\)", str(error))) else 0
        if not NON_FINITE.match(body, byte):
            return None
        return InvalidInput(f"the body: expected finite numbers, found NaN or an infinity at byte {byte}", byte=byte)
    try:
        place = _first_non_finite(json.loads(body))
    except (ValueError, RecursionError):
        place = None
    if place is None:
        return None
    names = [part.encode(errors="replace").decode() for part in place if isinstance(part, str)]
    field = ".".join(names) or FIELD
    return not_fitting("NaN or an infinity", [part for part in place if isinstance(part, int)], None, field)


def _first_non_finite(value: Any) -> tuple[str | int, ...] | None:
    if isinstance(value, float) and not math.isfinite(value):
        return ()
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if (place := _first_non_finite(item)) is not None:
            return (key, *place)
    return None
