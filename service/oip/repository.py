"""The repository extension: what there is, and what may be asked when a model is loaded."""

from collections.abc import Mapping
from typing import Any

import msgspec

from service.errors import InvalidInput
from service.repository.repository import Repository

READY = "READY"


class IndexBody(msgspec.Struct):
    """Whether to list only what can be asked now."""

    ready: bool | None = None


class LoadBody(msgspec.Struct):
    """Beside the model's name, which the path has."""

    parameters: dict[str, Any] | None = None


def versions_of(repository: Repository, name: str) -> list[str]:
    """Those that can be asked."""
    return [str(version) for version in repository.models().get(name, [])]


def index(repository: Repository, *, only_ready: bool) -> list[dict[str, str]]:
    """Every version: `name`, `version`, `state` (READY, LOADING or UNAVAILABLE) and the `reason` if it is not READY."""
    rows = [
        {"name": name, "version": str(version), "state": state.upper(), "reason": reason}
        for name, version, state, reason in repository.index()
    ]
    return [row for row in rows if row["state"] == READY or not only_ready]


def check_load(parameters: Mapping[str, object]) -> None:
    """Raises InvalidInput when files or settings are sent along: a model comes from the repository, as published."""
    for name in parameters:
        message = f"parameters.{name[:100]}: cannot be given; a model is loaded as it was published"
        raise InvalidInput(message, field=f"parameters.{name[:100]}")
