"""The exceptions of Dropserve, each with a stable code and a message for the caller.

    DropserveError
    ├── InvalidRequest            the caller's input is wrong
    │   ├── MalformedBody         the body is not JSON, or not an object of the expected form
    │   ├── InvalidInput          a field has the wrong shape, type or value
    │   ├── LimitExceeded         a field exceeds a limit of this service
    │   ├── BodyTooLarge          the body has more bytes than this service reads
    │   ├── UnsupportedMediaType  the body is of an unsupported content type
    │   ├── SlowBody              the body did not arrive in time
    │   ├── SlowHead              the head of a request did not arrive in time
    │   ├── HeadTooLarge          the head has more bytes than this service reads
    │   └── MalformedHead         not HTTP/1.1
    ├── AccessDenied              the caller lacks the permission
    │   ├── Unauthenticated       the key is missing or unknown
    │   └── Forbidden             the key is known, but its scope is too small
    ├── NotFound                  the request names something that does not exist
    │   ├── UnknownModel          the model or version does not exist
    │   ├── UnknownFile           the model has no such document
    │   ├── UnknownPrediction     the prediction log has no such row
    │   ├── UnknownPath           the path does not exist
    │   └── MethodNotAllowed      the path exists, but not for this HTTP method
    ├── Unavailable               the request is valid, but cannot be answered now
    │   ├── NotReady              no verified model is loaded
    │   ├── Overloaded            the queue is full
    │   ├── DeadlineExceeded      the deadline of the request has passed
    │   ├── CallerGone            the caller has disconnected
    │   └── StoreAway             the store of the prediction log cannot be reached
    ├── InvalidModel              a model's files are damaged or break the contract
    └── InvalidStore              the prediction log cannot be kept at the configured place

`service.access.refusals` has the one table from error to HTTP status; this module is independent of HTTP.
"""

from typing import Any, ClassVar


class DropserveError(Exception):
    """The base of all errors: `code` is stable, `message` is for people, `details` are JSON values for programs."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, **details: Any) -> None:
        """Keep the message and its details, such as `field`, `expected` and `found`."""
        super().__init__(message)
        self.message = message
        self.details = details


class InvalidRequest(DropserveError):
    """The caller's input is wrong."""

    code = "invalid_request"


class MalformedBody(InvalidRequest):
    """The body is not JSON, or not an object of the expected form."""

    code = "malformed_body"


class InvalidInput(InvalidRequest):
    """A field has the wrong shape, type or value."""

    code = "invalid_input"


class LimitExceeded(InvalidRequest):
    """A field exceeds a limit of this service."""

    code = "limit_exceeded"


class BodyTooLarge(InvalidRequest):
    """The body has more bytes than this service reads."""

    code = "body_too_large"


class UnsupportedMediaType(InvalidRequest):
    """The body is of an unsupported content type."""

    code = "unsupported_media_type"


class SlowBody(InvalidRequest):
    """The body did not arrive in time."""

    code = "slow_body"


class SlowHead(InvalidRequest):
    """The head of a request did not arrive in time."""

    code = "slow_head"


class HeadTooLarge(InvalidRequest):
    """The head has more bytes than this service reads."""

    code = "head_too_large"


class MalformedHead(InvalidRequest):
    """The head is not HTTP/1.1."""

    code = "malformed_head"


class AccessDenied(DropserveError):
    """The caller lacks the permission."""

    code = "access_denied"


class Unauthenticated(AccessDenied):
    """The key is missing or unknown."""

    code = "unauthenticated"


class Forbidden(AccessDenied):
    """The key is known, but its scope is too small."""

    code = "forbidden"


class NotFound(DropserveError):
    """The request names something that does not exist."""

    code = "not_found"


class UnknownModel(NotFound):
    """The model or version does not exist."""

    code = "unknown_model"


class UnknownFile(NotFound):
    """The model has no such document."""

    code = "unknown_file"


class UnknownPrediction(NotFound):
    """The prediction log has no such row."""

    code = "unknown_prediction"


class UnknownPath(NotFound):
    """The path does not exist."""

    code = "unknown_path"


class MethodNotAllowed(NotFound):
    """The path exists, but not for this HTTP method."""

    code = "method_not_allowed"


class Unavailable(DropserveError):
    """The request is valid, but cannot be answered now."""

    code = "unavailable"


class NotReady(Unavailable):
    """No verified model is loaded."""

    code = "not_ready"


class Overloaded(Unavailable):
    """The queue is full."""

    code = "overloaded"


class DeadlineExceeded(Unavailable):
    """The deadline of the request has passed."""

    code = "deadline_exceeded"


class CallerGone(Unavailable):
    """The caller has disconnected."""

    code = "caller_gone"


class StoreAway(Unavailable):
    """The store of the prediction log cannot be reached."""

    code = "store_away"


class InvalidModel(DropserveError):
    """A model's files are damaged or break the contract."""

    code = "invalid_model"


class InvalidStore(DropserveError):
    """The prediction log cannot be kept at the configured place."""

    code = "invalid_store"
