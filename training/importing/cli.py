"""The command `dropserve import net.onnx`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from service.extras import remedy
from service.model.manifest import Manifest
from service.progress import progress
from training.errors import TrainingError
from training.flags import Flag, given, with_flags
from training.importing.request import ImportRequest, make_request
from training.terminal import log_to, out, print_line, reported_errors

METAVARS = {"data": "FILE", "others": "FILE", "rows": "FILE", "models": "DIR"}
"""Placeholders of values in the help."""

Show = Callable[[Path, Manifest], None]
"""A function that reports the folder and manifest of a published model."""


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
        with reported_errors():
            request = make_request(file, given(flags))
            folder, manifest = _run(request)
        show(folder, manifest)
        if request.data is None:
            print_line("The model is not calibrated or evaluated; --data FILE does both.")


def _run(request: ImportRequest) -> tuple[Path, Manifest]:
    try:
        from training.importing.run import run  # torch takes seconds to import, and --help does not need it
    except ModuleNotFoundError as error:
        raise TrainingError(f"{error.name} is not installed; importing needs it; {remedy('training')}") from None

    try:
        with progress("import", out) as position:
            return run(request, log_to(position))
    except MemoryError:
        raise TrainingError(f"{request.file}: is too large for this machine's memory") from None
