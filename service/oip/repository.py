"""The protocol's repository extension: the index of models, and the options of loading one."""

from collections.abc import Mapping
from typing import Any

import msgspec

from service.errors import InvalidInput
from service.repository.repository import Repository

READY = "READY"


class IndexBody(msgspec.Struct):
    """The body of a request for the index: whether to list only ready versions."""

    ready: bool | None = None


class LoadBody(msgspec.Struct):
    """The body of a request to load a model."""

    parameters: dict[str, Any] | None = None


def versions_of(repository: Repository, name: str) -> list[str]:
    """Return the ready versions of a model."""
    return [str(version) for version in repository.models().get(name, [])]


def index(repository: Repository, *, only_ready: bool) -> list[dict[str, str]]:
    """Return `name`, `version`, `state` (READY, LOADING or UNAVAILABLE) and `reason` of every version."""
    rows = [
        {"name": name, "version": str(version), "state": state.upper(), "reason": reason}
        for name, version, state, reason in repository.index()
    ]
    return [row for row in rows if row["state"] == READY or not only_ready]


def check_load(parameters: Mapping[str, object]) -> None:
    """Raise InvalidInput for any parameter, such as files or settings: models are loaded only as published."""
    for name in parameters:
        message = f"parameters.{name[:100]}: is not supported; a model is loaded as it was published"
        raise InvalidInput(message, field=f"parameters.{name[:100]}")
