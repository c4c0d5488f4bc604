"""What the tests of routes share: a server of their own models, and what a refusal must look like."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.api import schemas
from tests.conftest import Serve


@pytest.fixture
def own(serve: Serve, models: Path) -> Iterator[httpx.Client]:
    """Of a server of the test's `models` that looks at them only when it is asked to."""
    with serve(models=models, watch=False, poll_seconds=3600) as client:
        yield client


def refusal(response: httpx.Response, status: int, code: str) -> str:
    """The message of a reply that must be this refusal, in the envelope of errors."""
    assert response.status_code == status
    error = schemas.ErrorReply.model_validate_json(response.content, strict=True).error
    assert error.code == code
    return error.message
