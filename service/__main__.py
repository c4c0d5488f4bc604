"""The command line: serve models, verify one, score files without a server, and make API keys."""

import gc
import os
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from service import __version__
from service.access.keys import KeyScope, make_key
from service.config import InvalidSettings, Settings, explain, find_misspelt
from service.errors import DropserveError, InvalidInput, InvalidRequest
from service.extras import remedy
from service.rows.dialect import Dialect
from service.rows.formats import RowsFile

if TYPE_CHECKING:
    from service.loading.load import Check  # imports onnxruntime, which only some commands need


def added_commands() -> dict[str, EntryPoint]:
    """Return the commands of other installed packages, by name; each entry point is a Typer app with that command."""
    return {point.name: point for point in entry_points(group="dropserve.commands")}


class Commands(TyperGroup):
    """The commands of the service, and those of other installed packages, which are imported when they are used."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands, those of the service first."""
        return [*super().list_commands(ctx), *added_commands()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of a name, or None."""
        if cmd_name in self.commands or (point := added_commands().get(cmd_name)) is None:
            return super().get_command(ctx, cmd_name)
        group: Any = typer.main.get_command(point.load())
        return group.get_command(ctx, cmd_name)


cli = typer.Typer(
    name="dropserve",
    cls=Commands,
    help="Serve dropout networks: a fast deterministic answer, and on request how much to trust it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(soft_wrap=True, emoji=False)
err = Console(stderr=True, soft_wrap=True, emoji=False)

Models = Annotated[str | None, typer.Option(help="Folder or URL of published models. [DROPSERVE_MODELS; models]")]

Output = Literal["json", "csv"]
Delimiter = Annotated[
    str | None,
    typer.Option(help="Delimiter of a CSV file, such as ; or tab.", show_default="found in the file"),
]
Decimal = Annotated[
    str | None,
    typer.Option(
        help="Decimal mark of a CSV file, . or a comma.", show_default="found in the file; an error if ambiguous"
    ),
]
Encoding = Annotated[str | None, typer.Option(help="Encoding of a CSV file, such as cp1252.", show_default="utf-8")]


@cli.command()
def serve(
    models: Models = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. [DROPSERVE_HOST; 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one. [DROPSERVE_PORT; 8000]")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes. [DROPSERVE_WORKERS; 1]")] = None,
) -> None:
    """Answer HTTP requests. Every other setting is an environment variable: see docs/settings.md."""
    given = {"models": models, "host": host, "port": port, "workers": workers}
    settings = _settings(**given)
    gc.disable()  # collections during the following imports take a tenth of the start, and find nothing
    from service.http.server import run_server

    try:
        run_server(settings)
    except InvalidSettings as error:
        _stop_for(error.reasons, given, code=1)
    except DropserveError as error:
        _stop(error.message)


@cli.command()
def key(
    name: Annotated[str, typer.Option(help="Name of the key's owner; one word.")],
    scope: Annotated[
        KeyScope, typer.Option(help="infer: use models; review: also label answers; admin: also load models.")
    ] = "infer",
) -> None:
    """Make an API key, and print it once with its line for the key file, which does not reveal the key."""
    try:
        secret, stored = make_key(name, scope)
    except DropserveError as error:
        _stop(error.message, code=2)
    out.print(f"key:  {secret}", highlight=False, markup=False)
    out.print(f"line: {stored.line()}", highlight=False, markup=False)


@cli.command()
def check(model: Annotated[Path, typer.Argument(help="A model's folder, such as models/digits/1.")]) -> None:
    """Verify a published model: digests, graphs, golden answers. The exit code is 1 if it is damaged."""
    from service.loading.load import load_model

    checks: list[Check] = []
    try:
        load_model(model, checks=checks)
    except DropserveError as error:
        _print_checks(checks)
        _print_marked(err, "✗", "red", error.message)
        raise typer.Exit(1) from None
    _print_checks(checks)
    out.print(f"{model} can be served.", style="green", markup=False, highlight=False)


@cli.command()
def predict(
    file: Annotated[
        str,
        typer.Argument(help="JSON, JSON Lines, CSV, Parquet (also a folder), NPZ or NPY, also .gz; - reads stdin."),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="A name, or a folder such as models/digits or models/digits/1.",
            show_default="DROPSERVE_DEFAULT_MODEL, or the first",
        ),
    ] = None,
    uncertainty: Annotated[bool, typer.Option("--uncertainty", help="Add the uncertainty, by MC dropout.")] = False,
    samples: Annotated[
        int | None, typer.Option(help="Number of samples, with --uncertainty.", show_default="100")
    ] = None,
    seed: Annotated[
        str | None,
        typer.Option(help="Seed of the samples, with --uncertainty: a whole number, or random.", show_default="0"),
    ] = None,
    output: Annotated[Output, typer.Option(help="csv: one line per row, without lists.")] = "json",
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    models: Models = None,
) -> None:
    """Score a file, and print the same JSON as the service."""
    from service.bulk import scoring
    from service.engine.masks import MaskCache
    from service.loading.load import load_model

    options = _options(samples, seed)
    if options and not uncertainty:
        _stop("--samples and --seed require --uncertainty", code=2)
    dialect = _dialect(delimiter, decimal, encoding)
    settings = _settings(models=models)
    try:
        engine = load_model(scoring.choose_model(model, settings), MaskCache(settings.mask_cache_bytes))
        rows = _read(file, dialect)
        if uncertainty:
            answer = scoring.sample(engine, rows, options, settings, output)
        else:
            answer = scoring.predict(engine, rows, output)
    except DropserveError as error:
        _stop(error.message)
    except OSError as error:
        _stop(f"{settings.models}: {error}")
    sys.stdout.buffer.write(answer + b"\n")


@cli.command()
def score(
    inputs: Annotated[
        str,
        typer.Argument(
            help="A file, a folder of Parquet, or a pattern: 's3://rows/*.parquet', in the formats of predict;"
            " Parquet files may be larger than the memory."
        ),
    ],
    out_folder: Annotated[
        str, typer.Option("--out", help="Folder or URL of the answers; an interrupted job there is resumed.")
    ],
    model: Annotated[
        str | None, typer.Option(help="A name, or a folder.", show_default="DROPSERVE_DEFAULT_MODEL, or the first")
    ] = None,
    uncertainty: Annotated[bool, typer.Option("--uncertainty", help="Add the uncertainty, by MC dropout.")] = False,
    samples: Annotated[
        int | None, typer.Option(help="Number of samples, with --uncertainty.", show_default="100")
    ] = None,
    seed: Annotated[
        str | None, typer.Option(help="Seed, with --uncertainty: a whole number.", show_default="0")
    ] = None,
    keep: Annotated[list[str] | None, typer.Option(help="A column to copy beside the answers; repeatable.")] = None,
    on_ray: Annotated[bool, typer.Option("--ray", help="On the cluster of RAY_ADDRESS, or on all cores here.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes, with --ray.", show_default="as many as cores")
    ] = None,
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    models: Models = None,
) -> None:
    """Score large files, into files, and print rows per second and per second of a core."""
    options = _options(samples, seed)
    if options and not uncertainty:
        _stop("--samples and --seed require --uncertainty", code=2)
    if options.get("seed") == "random":
        _stop("--seed: expected a whole number, as a resumed job must draw the same samples", code=2)
    if workers and not on_ray:
        _stop("--workers requires --ray", code=2)
    dialect = _dialect(delimiter, decimal, encoding)
    settings = _settings(models=models)
    try:
        from service.bulk.job import score_files
        from service.bulk.plan import Options
    except ModuleNotFoundError as error:
        _stop(f"{error.name} is not installed; {remedy('score')}")
    passes = options.get("samples", settings.default_samples) if uncertainty else None
    of_job = Options(passes, options.get("seed", settings.seed), tuple(keep or ()), dialect)
    try:
        tally = score_files(inputs, out_folder, of_job, model, settings, on_ray=on_ray, workers=workers)
    except DropserveError as error:
        _stop(error.message)
    except OSError as error:
        _stop(str(error))
    out.print(str(tally), highlight=False, markup=False)


@cli.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Dropserve."""
    if version:
        out.print(__version__, highlight=False)
        raise typer.Exit


def _options(samples: int | None, seed: str | None) -> dict[str, Any]:
    from service.bulk.scoring import check_options

    try:
        return check_options(samples, seed)
    except InvalidInput as error:
        _stop(f"--{error.message}", code=2)


def _dialect(delimiter: str | None, decimal: str | None, encoding: str | None) -> Dialect:
    try:
        return Dialect.of(delimiter, decimal, encoding)
    except InvalidInput as error:
        _stop(f"--{error.message}", code=2)


def _read(file: str, dialect: Dialect) -> RowsFile:
    try:
        if file == "-":
            return RowsFile.of_bytes("stdin", sys.stdin.buffer.read(), dialect)
        return RowsFile.of_path(Path(file), dialect)
    except OSError as error:
        _stop(f"{file}: cannot be read: {error.strerror}")
    except InvalidRequest as error:
        _stop(f"{file}: {error.message}")


def _settings(**given: Any) -> Settings:
    """Return the settings of the command line and the environment, or print all errors and exit with code 2."""
    misspelt = {variable: near for variable, near in find_misspelt(os.environ).items() if near}
    for variable, near in misspelt.items():
        _print_marked(err, "Error:", "red", f"{variable}: there is no such setting; did you mean {near}?")
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        _stop_for(explain(error), given, code=2)
    if misspelt:
        raise typer.Exit(2)
    return settings


def _stop_for(reasons: Mapping[str, str], given: Mapping[str, Any], code: int) -> NoReturn:
    """Print one line for each invalid setting, by the option or variable that set it, and exit."""
    for name, reason in reasons.items():
        shown = f"--{name}" if given.get(name) is not None else f"DROPSERVE_{name.upper()}"
        _print_marked(err, "Error:", "red", f"{shown}: {reason}")
    raise typer.Exit(code)


def _print_checks(checks: "list[Check]") -> None:
    for passed in checks:
        _print_marked(out, "✓", "green", f"{passed.name}: {passed.detail}")


def _print_marked(where: Console, mark: str, style: str, message: str) -> None:
    """Print a line with a coloured mark; brackets in the message are no markup."""
    where.print(Text.assemble((mark, style), f" {message}"))


def _stop(message: str, code: int = 1) -> NoReturn:
    _print_marked(err, "Error:", "red", message)
    raise typer.Exit(code)


if __name__ == "__main__":
    cli()
