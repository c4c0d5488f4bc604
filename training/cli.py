"""The commands `dropserve train`, `import` and `behaviour`."""

import os
import shlex
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from service.extras import remedy, this_python
from service.model.manifest import Manifest
from service.progress import progress
from training.behaviour.cli import behaviour
from training.config import TrainConfig, load_config
from training.errors import TrainingError
from training.evidence.glossary import COMPARED, FIGURES
from training.flags import Flag, given, with_flags
from training.importing.cli import add_import
from training.publish.markdown import number
from training.terminal import errors, log_to, out, print_line, reported_errors

if TYPE_CHECKING:
    from training.loop.log_files import Epoch

INTERRUPTED = 130

app = typer.Typer(
    help="Train networks with dropout and publish them for the service.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(behaviour)


@app.callback()
def main() -> None:
    """Train networks with dropout and publish them for the service."""


@app.command()
@with_flags(TrainConfig)
def train(
    config: Annotated[
        Path | None, typer.Option(help="TOML file of settings, such as epochs = 50; flags override it.", metavar="FILE")
    ] = None,
    **flags: Flag,
) -> None:
    """Train a network on a data set, and publish it as the next version of its name.

    It is trained, exported with and without its dropout, verified against the original, calibrated and
    evaluated on held-out parts of the data, and written to MODELS/NAME/VERSION atomically.

    Examples: dropserve train --data houses.csv --target price

    dropserve train --hidden 512,512 --dropout 0.3 --epochs 50
    """
    settings = None
    try:
        with reported_errors(), _process_group():
            settings = load_config(config, given(flags))
            published = _run(settings)
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
        return "Stopped; nothing was published. With --checkpoint FILE a run can be resumed."
    if not checkpoint.exists():
        return "Stopped before training began; nothing was published."
    command = f"{this_python()} -m training train --resume {shlex.quote(str(checkpoint))}"
    return f"Stopped; {checkpoint} has the state after the last whole epoch. To resume the run:\n  {command}"


def _run(settings: TrainConfig) -> tuple[Path, Manifest] | None:
    """Return the published folder and manifest; None in a process that is not the first."""
    try:
        from training.loop.distributed import ranks  # torch takes seconds to import, and --help does not need it
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

        return run(settings, log_to(position), on_epoch)


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
    in_container = os.environ.get("SERVE_COMMAND")
    command = in_container or f"{variable}{this_python()} -m service serve"
    print_line(f"Published {folder}. A service that watches {models} picks it up by itself. To start one:\n  {command}")


add_import(app, _show)
