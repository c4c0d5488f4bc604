"""The command `dropserve import net.onnx`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from service.errors import DropserveError
from service.extras import remedy
from service.model.manifest import Manifest
from service.progress import progress
from training.errors import ConfigError, TrainingError
from training.flags import Flag, given, with_flags
from training.importing.request import ImportRequest, make_request

FAILURE = 1
USAGE = 2
METAVARS = {"data": "FILE", "others": "FILE", "rows": "FILE", "models": "DIR"}
"""Placeholders of values in the help."""

Show = Callable[[Path, Manifest], None]
"""A function that reports the folder and manifest of a published model."""

out = Console(highlight=False, emoji=False)
errors = Console(stderr=True, highlight=False, emoji=False)


def add_import(app: typer.Typer, show: Show) -> None:
    """Add the command to the application; `show` is called with the folder and the manifest."""

    @app.command("import")
    @with_flags(ImportRequest, but=("file",), metavars=METAVARS)
    def import_(
        file: Annotated[Path, typer.Argument(help="ONNX file of a network with dropout in it.", metavar="NET.onnx")],
        **flags: Flag,
    ) -> None:
        """Publish a network with dropout from an ONNX file of any origin.

        Two graphs, with and without dropout, are verified against the file's own network, calibrated and evaluated
        where there is data, and written to MODELS/NAME/VERSION atomically. The file must have been exported with its
        dropout, which exporters leave out by default: docs/import.md.

        Examples: dropserve import net.onnx --labels cat,dog --data held_out.csv --target animal

        dropserve import net.onnx --task regression
        """
        try:
            request = make_request(file, given(flags))
            folder, manifest = _run(request)
        except DropserveError as error:
            errors.print(f"Error: {error.message}", markup=False, style="red", soft_wrap=True)
            raise typer.Exit(USAGE if isinstance(error, ConfigError) else FAILURE) from None
        show(folder, manifest)
        if request.data is None:
            _say("The model is not calibrated or evaluated; --data FILE does both.")


def _run(request: ImportRequest) -> tuple[Path, Manifest]:
    try:
        from training.importing.run import run  # torch takes seconds to import, and --help needs none of it
    except ModuleNotFoundError as error:
        raise TrainingError(f"{error.name} is not installed; importing needs it; {remedy('training')}") from None

    def log(text: str) -> None:
        _say(text)
        position.after(text)

    try:
        with progress("import", out) as position:
            return run(request, log)
    except MemoryError:
        raise TrainingError(f"{request.file}: is too large for this machine's memory") from None


def _say(text: str) -> None:
    out.print(text, markup=False, soft_wrap=True)
