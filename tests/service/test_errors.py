"""The errors' codes and their statuses: none is forgotten."""

import inspect

import pytest

from service import errors
from service.access.refusals import STATUS
from service.errors import DropserveError

ALL = [error for _, error in inspect.getmembers(errors, inspect.isclass) if issubclass(error, DropserveError)]
LEAVES = [error for error in ALL if not error.__subclasses__()]


@pytest.mark.parametrize("error", LEAVES)
def test_whatever_can_be_raised_has_a_status(error: type[DropserveError]) -> None:
    assert 400 <= STATUS[error] < 600


def test_only_what_is_raised_has_a_status() -> None:
    assert set(STATUS) == set(LEAVES)


def test_codes_are_stable_and_one_each() -> None:
    codes = [error.code for error in ALL]
    assert len(set(codes)) == len(codes)
    assert set(codes) == {
        "internal",
        "invalid_request",
        "malformed_body",
        "invalid_input",
        "limit_exceeded",
        "body_too_large",
        "unsupported_media_type",
        "not_found",
        "unknown_model",
        "unknown_file",
        "unknown_path",
        "method_not_allowed",
        "unavailable",
        "not_ready",
        "overloaded",
        "deadline_exceeded",
        "caller_gone",
        "slow_body",
        "slow_head",
        "head_too_large",
        "malformed_head",
        "access_denied",
        "unauthenticated",
        "forbidden",
        "invalid_model",
        "unknown_prediction",
        "store_away",
        "invalid_store",
    }


@pytest.mark.parametrize("error", ALL)
def test_the_tree_in_the_docstring_names_each(error: type[DropserveError]) -> None:
    assert error.__name__ in (errors.__doc__ or "")


def test_an_error_names_field_and_expectation() -> None:
    error = errors.InvalidInput("samples: expected a whole number", field="samples")
    assert str(error) == error.message == "samples: expected a whole number"
    assert error.details == {"field": "samples"}
