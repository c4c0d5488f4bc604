"""The one table from error to HTTP status, and the JSON form of all errors."""

from service import errors
from service.access.calls import Header, Reply
from service.api.replies import encode
from service.errors import DropserveError

INTERNAL_ERROR = "an internal error occurred; the service's log has the details"
"""The message for an unexpected exception; its details are logged, not sent."""

STATUS: dict[type[DropserveError], int] = {
    errors.MalformedBody: 400,
    errors.InvalidInput: 422,
    errors.LimitExceeded: 422,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.SlowBody: 408,
    errors.SlowHead: 408,
    errors.HeadTooLarge: 431,
    errors.MalformedHead: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.UnknownModel: 404,
    errors.UnknownFile: 404,
    errors.UnknownPrediction: 404,
    errors.UnknownPath: 404,
    errors.MethodNotAllowed: 405,
    errors.NotReady: 503,
    errors.Overloaded: 429,
    errors.DeadlineExceeded: 504,
    errors.CallerGone: 499,  # nginx's code for a closed connection; counted, never sent
    errors.StoreAway: 503,
    errors.InvalidModel: 503,
    errors.InvalidStore: 503,
}

HEADERS: dict[int, tuple[Header, ...]] = {
    401: ((b"www-authenticate", b"Bearer"),),
    408: ((b"connection", b"close"),),
    429: ((b"retry-after", b"1"),),
    503: ((b"retry-after", b"1"),),
}
"""Headers sent with a status; Retry-After is in seconds."""


def error_reply(error: DropserveError, status: int | None = None) -> Reply:
    """Return the answer in place of an error's request; an error without an entry in STATUS is a 500."""
    status = status or STATUS.get(type(error), 500)
    body = {"error": {"code": error.code, "message": error.message, "details": error.details}}
    return Reply(encode(body), headers=_headers(error, status), status=status)


def _headers(error: DropserveError, status: int) -> tuple[Header, ...]:
    """Return Allow or Retry-After from the error's details, else the status's own headers."""
    if isinstance(error, errors.MethodNotAllowed) and "allowed" in error.details:
        return ((b"allow", error.details["allowed"].encode()),)
    if "retry_after" in error.details:
        return ((b"retry-after", str(error.details["retry_after"]).encode()),)
    return HEADERS.get(status, ())
