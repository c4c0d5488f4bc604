"""Everything that Dropserve refuses, as exceptions with a stable code and a message for the caller.

    DropserveError
    ├── InvalidRequest            the caller's input is wrong
    │   ├── MalformedBody         not JSON, or not the JSON that was asked for
    │   ├── InvalidInput          a field has the wrong shape, type or value
    │   ├── LimitExceeded         a field asks for more than this service allows
    │   ├── BodyTooLarge          the body has more bytes than this service reads
    │   ├── UnsupportedMediaType  the body is not of a content type that is read here
    │   ├── SlowBody              the body did not arrive in time
    │   ├── SlowHead              the head of a request did not arrive in time
    │   ├── HeadTooLarge          the head has more bytes than this service reads
    │   └── MalformedHead         not HTTP/1.1
    ├── AccessDenied              the caller may not do that
    │   ├── Unauthenticated       no key, or one that is not known
    │   └── Forbidden             a known key, of too small a scope
    ├── NotFound                  the caller named something that is not here
    │   ├── UnknownModel
    │   ├── UnknownFile           a model that has no such file for people to read
    │   ├── UnknownPrediction     no such row in the prediction log
    │   ├── UnknownPath
    │   └── MethodNotAllowed      the path is here, but not for this HTTP method
    ├── Unavailable               a good request, at a bad moment
    │   ├── NotReady              no verified model is loaded
    │   ├── Overloaded            the queue is full; come back later
    │   ├── DeadlineExceeded      the answer would have come too late
    │   ├── CallerGone            there is nobody left to answer
    │   └── StoreAway             the store of the prediction log cannot be reached
    ├── InvalidModel              a model's files are damaged or break the contract
    └── InvalidStore              there can be no prediction log at the place named

What each means to an HTTP caller is decided in one table, in `service.access.refusals`; nothing here knows of HTTP.
"""

from typing import Any, ClassVar


class DropserveError(Exception):
    """A refusal. `code` is stable, `message` is for people, `details` are for programs (JSON values only)."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class InvalidRequest(DropserveError):
    code = "invalid_request"


class MalformedBody(InvalidRequest):
    code = "malformed_body"


class InvalidInput(InvalidRequest):
    code = "invalid_input"


class LimitExceeded(InvalidRequest):
    code = "limit_exceeded"


class BodyTooLarge(InvalidRequest):
    code = "body_too_large"


class UnsupportedMediaType(InvalidRequest):
    code = "unsupported_media_type"


class SlowBody(InvalidRequest):
    code = "slow_body"


class SlowHead(InvalidRequest):
    code = "slow_head"


class HeadTooLarge(InvalidRequest):
    code = "head_too_large"


class MalformedHead(InvalidRequest):
    code = "malformed_head"


class AccessDenied(DropserveError):
    code = "access_denied"


class Unauthenticated(AccessDenied):
    code = "unauthenticated"


class Forbidden(AccessDenied):
    code = "forbidden"


class NotFound(DropserveError):
    code = "not_found"


class UnknownModel(NotFound):
    code = "unknown_model"


class UnknownFile(NotFound):
    code = "unknown_file"


class UnknownPrediction(NotFound):
    code = "unknown_prediction"


class UnknownPath(NotFound):
    code = "unknown_path"


class MethodNotAllowed(NotFound):
    code = "method_not_allowed"


class Unavailable(DropserveError):
    code = "unavailable"


class NotReady(Unavailable):
    code = "not_ready"


class Overloaded(Unavailable):
    code = "overloaded"


class DeadlineExceeded(Unavailable):
    code = "deadline_exceeded"


class CallerGone(Unavailable):
    code = "caller_gone"


class StoreAway(Unavailable):
    code = "store_away"


class InvalidModel(DropserveError):
    code = "invalid_model"


class InvalidStore(DropserveError):
    code = "invalid_store"
