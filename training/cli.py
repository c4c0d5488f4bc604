"""The commands `dropserve train`, `import` and `behaviour`."""

import os
import shlex
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from service.errors import DropserveError
from service.extras import remedy, this_python
from service.model.manifest import Manifest
from service.progress import progress
from training.behaviour.cli import behaviour
from training.config import TrainConfig, load_config
from training.errors import ConfigError, TrainingError
from training.evidence.glossary import COMPARED, FIGURES
from training.flags import Flag, given, with_flags
from training.importing.cli import add_import
from training.publish.markdown import number

if TYPE_CHECKING:
    from training.loop.log_files import Epoch

FAILURE = 1
USAGE = 2
INTERRUPTED = 130

app = typer.Typer(
    help="Train networks with dropout and publish them for the service.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(behaviour)
out = Console(highlight=False, emoji=False)
errors = Console(stderr=True, highlight=False, emoji=False)


@app.callback()
def main() -> None:
    """Train networks with dropout and publish them for the service."""


@app.command()
@with_flags(TrainConfig)
def train(
    config: Annotated[
        Path | None, typer.Option(help="TOML file of settings, such as epochs = 50; flags go over it.", metavar="FILE")
    ] = None,
    **flags: Flag,
) -> None:
    """Train a network on a data set, and publish it as the next version of its name.

    It is trained, exported with and without its dropout, verified against the original, calibrated and
    evaluated on parts of the data that it did not learn from, and written to MODELS/NAME/VERSION in one piece.

    Examples: dropserve train --data houses.csv --target price

    dropserve train --hidden 512,512 --dropout 0.3 --epochs 50
    """
    settings = None
    try:
        with _process_group():
            settings = load_config(config, given(flags))
            published = _run(settings)
    except DropserveError as error:
        errors.print(f"Error: {error.message}", markup=False, style="red", soft_wrap=True)
        raise typer.Exit(USAGE if isinstance(error, ConfigError) else FAILURE) from None
    except KeyboardInterrupt:
        errors.print(_stopped(settings), markup=False, soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    if published:
        _show(*published)


def _process_group() -> AbstractContextManager[None]:
    """Return the context of a process group where `torchrun` started several processes."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return nullcontext()
    from training.loop.distributed import joined

    return joined()


def _stopped(settings: TrainConfig | None) -> str:
    checkpoint = settings and (settings.checkpoint or settings.resume)
    if not checkpoint:
        return "Stopped; nothing was published. With --checkpoint FILE a run can be gone on with."
    if not checkpoint.exists():
        return "Stopped before training began; nothing was published."
    command = f"{this_python()} -m training train --resume {shlex.quote(str(checkpoint))}"
    return f"Stopped; {checkpoint} has all up to the last whole epoch. To go on from there:\n  {command}"


def _run(settings: TrainConfig) -> tuple[Path, Manifest] | None:
    """Return the published folder and manifest; None in a process that is not the first."""
    try:
        from training.loop.distributed import ranks  # torch takes seconds to import, and --help needs none of it
        from training.pipeline import assist, run
    except ModuleNotFoundError as error:
        raise TrainingError(f"{error.name} is not installed; training needs it; {remedy('training')}") from None

    if not ranks().first:
        assist(settings)
        return None
    with progress("train", out) as position:

        def on_epoch(epoch: "Epoch") -> None:
            losses = f"loss {epoch.train_loss:.4f}, validation {epoch.validation_loss:.4f}"
            position.at(f"epochs, {losses}, {epoch.score_name} {epoch.validation_score:.4f}", epoch.number, epoch.of)

        def log(text: str) -> None:
            _say(text)
            position.after(text)

        return run(settings, log, on_epoch)


def _say(text: str) -> None:
    out.print(text, markup=False, soft_wrap=True)


def _show(folder: Path, manifest: Manifest) -> None:
    models = folder.parent.parent
    table = Table("figure", *COMPARED.values())
    for figure, title in FIGURES.items():
        found = [manifest.evaluation.get(kind, {}).get(figure) for kind in COMPARED]
        if any(value is not None for value in found):
            table.add_row(title, *map(number, found))
    if manifest.evaluation:
        out.print(table)
    variable = "" if models == TrainConfig().models else f"DROPSERVE_MODELS={shlex.quote(str(models))} "
    command = (
        os.environ.get("SERVE_COMMAND") or f"{variable}{this_python()} -m service serve"
    )  # another, in a container
    _say(f"Published {folder}. A service that watches {models} picks it up by itself. To start one:\n  {command}")


add_import(app, _show)
