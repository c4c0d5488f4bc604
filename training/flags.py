"""Turn a model of settings into the flags of a command, and validation errors into messages."""

import csv
import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from service.errors import InvalidInput
from service.model.manifest import NAME
from service.rows.dialect import Dialect
from training.errors import ConfigError

METAVARS: dict[type, str] = {int: "N", float: "X"}
"""Placeholders of values in the help, by type."""
Command = Callable[..., None]
Flag = str | list[str] | None
"""The values of a flag as a command receives them."""


def _at_commas(value: object) -> object:
    return split_names(value) if isinstance(value, str) else value


def split_names(text: str) -> list[str]:
    """Return the names between commas; a name with a comma is in double quotes."""
    return [name.strip() for name in next(csv.reader([text], skipinitialspace=True), []) or [""]]


def check_name(name: str) -> None:
    """Raise ConfigError for a name that a model cannot have."""
    try:
        _can_be_a_name(name)
    except ValueError as error:
        raise ConfigError(f"name: {error}; found {name!r}") from None


def _can_be_a_name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError("expected at most 100 letters, digits, dots, hyphens and underscores, a letter or digit first")
    return value


Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_at_commas)]
"""Names of columns or classes; as a flag separated by commas, and the flag may be repeated."""


def _of_dialect(make: Callable[[str], Dialect]) -> AfterValidator:
    def check(value: str) -> str:
        try:
            make(value)
        except InvalidInput as error:
            raise ValueError(error.message.partition(": ")[2].partition("; found")[0]) from None
        return value

    return AfterValidator(check)


Delimiter = Annotated[str, _of_dialect(lambda value: Dialect(delimiter=value))]
Encoding = Annotated[str, _of_dialect(lambda value: Dialect(encoding=value))]
ModelName = Annotated[str, AfterValidator(_can_be_a_name)]


def named_as(file: str | Path) -> str:
    """Return a name for a model, derived from that of a file."""
    stem = Path(file).resolve().name.split(".")[0]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).lstrip("._-")[:100] or "model"


def with_flags(
    model: type[BaseModel], *, but: tuple[str, ...] = (), metavars: Mapping[str, str] | None = None
) -> Callable[[Command], Command]:
    """Replace the **flags of a command by one flag for each field of the model, with its description as help.

    Values are passed on as text for the model to validate, names as a list of texts; a flag that is not given is None.
    `but` names fields without a flag.
    """

    def decorate(command: Command) -> Command:
        parameters = list(inspect.signature(command).parameters.values())[:-1]  # all but **flags
        for key, field in model.model_fields.items():
            if key not in but:
                kind: Any = list[str] | None if _is_of_names(field) else str | None
                annotation = Annotated[kind, _option(key, field, (metavars or {}).get(key))]
                parameters.append(
                    inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
                )
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return command

    return decorate


def given(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags on the command line, with all names of a repeated one."""
    return {
        key: [name for text in value for name in split_names(text)] if isinstance(value, list) else value
        for key, value in flags.items()
        if value not in (None, [])
    }


def _is_of_names(field: FieldInfo) -> bool:
    return any(isinstance(one, BeforeValidator) and one.func is _at_commas for one in field.metadata)


def _option(key: str, field: FieldInfo, metavar: str | None) -> Any:
    value = None if field.is_required() else field.default
    default = ",".join(map(str, value)) if isinstance(value, tuple) else "" if value is None else str(value)
    by_type = METAVARS.get(type(value)) if not isinstance(value, tuple) else "N,N" if value else "A,B"
    return typer.Option(flag(key), help=field.description, show_default=default or False, metavar=metavar or by_type)


def flag(key: str) -> str:
    """Return the command line's spelling of a setting."""
    return "--" + key.replace("_", "-")


def explain(error: ErrorDetails, place: Callable[[str], str], model: type[BaseModel]) -> str:
    """Return «run.toml: epochs: must be a valid integer, …; given: 'many'», followed by the setting's description."""
    message = re.sub(r"^(Value error, |\w+ should(?= ))", "", error["msg"])
    message = re.sub(r"^ ", "must ", message)
    if not error["loc"]:
        return message
    key = str(error["loc"][0])
    return f"{place(key)}: {message}; given: {error['input']!r}. {model.model_fields[key].description}"
