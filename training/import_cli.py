"""The command line: `python -m training import net.onnx`."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from service.errors import DropserveError
from service.manifest import Manifest
from training.errors import ConfigError, TrainingError
from training.importing.request import ImportRequest, make_request

FAILURE = 1
USAGE = 2
METAVARS = {
    "labels": "A,B",
    "ignore": "A,B",
    "data": "FILE",
    "others": "FILE",
    "rows": "FILE",
    "models": "DIR",
    "passes": "N",
    "seed": "N",
}

Show = Callable[[Path, Manifest], None]

out = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def add_import(app: typer.Typer, show: Show) -> None:
    """Give the application the command; `show` is told the folder and the manifest that came of it."""

    @app.command("import")
    @with_flags
    def import_(
        file: Annotated[Path, typer.Argument(help="ONNX file of a network with dropout in it.", metavar="NET.onnx")],
        **flags: str | None,
    ) -> None:
        """Publish a network with dropout that somebody else trained, from its ONNX file.

        Two graphs are made of it, with and without dropout, verified against the file's own network, calibrated and
        evaluated where there is data, and written to MODELS/NAME/VERSION in one piece. The file must have been
        exported with its dropout, which exporters leave out unless they are told: docs/import.md.

        Examples: python -m training import net.onnx --labels cat,dog --data held_out.csv --target animal

        python -m training import net.onnx --task regression
        """
        try:
            request = make_request(file, {key: value for key, value in flags.items() if value is not None})
            folder, manifest = _run(request)
        except DropserveError as error:
            errors.print(f"Error: {error.message}", markup=False, style="red", soft_wrap=True)
            raise typer.Exit(USAGE if isinstance(error, ConfigError) else FAILURE) from None
        show(folder, manifest)
        if request.data is None:
            _say("It is not calibrated, and there are no figures: with --data FILE it is, and there are.")


def with_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give the command a flag for each field of ImportRequest but the file, its help taken from there.

    Values are passed on as text, for ImportRequest to judge; a flag that is not given is None.
    """
    parameters = list(inspect.signature(command).parameters.values())[:-1]  # all but **flags
    for key, field in ImportRequest.model_fields.items():
        if key != "file":
            option = typer.Option(f"--{key}", help=field.description, metavar=METAVARS.get(key, "TEXT"))
            annotation = Annotated[str | None, option]
            parameters.append(
                inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            )
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def _run(request: ImportRequest) -> tuple[Path, Manifest]:
    try:
        from training.importing.run import run  # torch takes seconds to import, and --help needs none of it
    except ModuleNotFoundError as error:
        raise TrainingError(f"{error.name} is not installed; importing needs: pip install '.[training]'") from None

    try:
        return run(request, _say)
    except MemoryError:
        raise TrainingError(f"{request.file}: is too large for this machine's memory") from None


def _say(text: str) -> None:
    out.print(text, markup=False, soft_wrap=True)
