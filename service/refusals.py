"""What a refusal is to an HTTP caller: the one table from error to status, and the form that all errors have."""

from service import errors
from service.errors import DropserveError
from service.replies import encode

Header = tuple[bytes, bytes]

STATUS: dict[type[DropserveError], int] = {
    errors.MalformedBody: 400,
    errors.InvalidInput: 422,
    errors.LimitExceeded: 422,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.UnknownModel: 404,
    errors.UnknownPath: 404,
    errors.MethodNotAllowed: 405,
    errors.NotReady: 503,
    errors.Overloaded: 429,
    errors.DeadlineExceeded: 504,
    errors.InvalidModel: 503,
}

RETRY_AFTER = {429: b"1", 503: b"1"}
"""Seconds."""


def error_reply(error: DropserveError, status: int | None = None) -> tuple[int, bytes, list[Header]]:
    """Status, JSON and headers of a refusal; an error of no known kind is ours, 500."""
    status = status or STATUS.get(type(error), 500)
    body = {"error": {"code": error.code, "message": error.message, "details": error.details}}
    headers = [(b"retry-after", RETRY_AFTER[status])] if status in RETRY_AFTER else []
    return status, encode(body), headers
