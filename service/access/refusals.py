"""What a refusal is to an HTTP caller: the one table from error to status, and the form that all errors have."""

from service import errors
from service.api.replies import encode
from service.errors import DropserveError

Header = tuple[bytes, bytes]

MISTAKE = "something went wrong in the service; its log says what"
"""All that a caller is told of a mistake of ours."""

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
    errors.CallerGone: 499,  # as nginx counts them; nobody is there to be told
    errors.StoreAway: 503,
    errors.InvalidModel: 503,
    errors.InvalidStore: 503,
}

HEADERS: dict[int, list[Header]] = {
    401: [(b"www-authenticate", b"Bearer")],
    408: [(b"connection", b"close")],
    429: [(b"retry-after", b"1")],
    503: [(b"retry-after", b"1")],
}
"""What a status is sent with; Retry-After is in seconds."""


def error_reply(error: DropserveError, status: int | None = None) -> tuple[int, bytes, list[Header]]:
    """Status, JSON and headers of a refusal; an error of no known kind is ours, 500."""
    status = status or STATUS.get(type(error), 500)
    body = {"error": {"code": error.code, "message": error.message, "details": error.details}}
    return status, encode(body), _headers(error, status)


def _headers(error: DropserveError, status: int) -> list[Header]:
    """Retry-After tells when, and Allow what instead, where the error knows."""
    if isinstance(error, errors.MethodNotAllowed) and "allowed" in error.details:
        return [(b"allow", error.details["allowed"].encode())]
    if "retry_after" in error.details:
        return [(b"retry-after", str(error.details["retry_after"]).encode())]
    return HEADERS.get(status, [])
