"""The command line: serve models, check one, or score a file without a server."""

import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import uvicorn
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from service import __version__
from service.app import create_app
from service.config import Settings
from service.engine import Engine
from service.errors import DropserveError
from service.files import guess_kind, read_request, read_rows
from service.loading import Check, load_model
from service.logs import configure_logging
from service.masks import MaskCache
from service.replies import encode_prediction, encode_uncertainty
from service.repository import find_models
from service.requests import choose_seed

cli = typer.Typer(
    name="python -m service",
    help="Serve dropout networks: a fast deterministic answer, and on request how much to trust it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)

Models = Annotated[Path | None, typer.Option(help="Folder of published models. [DROPSERVE_MODELS; models]")]


@cli.command()
def serve(
    models: Models = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. [DROPSERVE_HOST; 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one. [DROPSERVE_PORT; 8000]")] = None,
) -> None:
    """Answer HTTP requests. Every other setting is an environment variable: see docs/settings.md."""
    settings = _settings(models=models, host=host, port=port)
    configure_logging(settings.log_level)
    # uvicorn drains and then raises the signal again, to die of it; a service that was told to stop did well
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=round(settings.drain_timeout),
    )


@cli.command()
def check(model: Annotated[Path, typer.Argument(help="A model's folder, such as models/digits/1.")]) -> None:
    """Verify a published model: digests, graphs, golden answers. Says what it found; exit code 1 if it is damaged."""
    checks: list[Check] = []
    try:
        load_model(model, MaskCache(0), checks=checks)
    except DropserveError as error:
        _tell(checks)
        _say(err, "✗", "red", error.message)
        raise typer.Exit(1) from None
    _tell(checks)
    out.print(f"{model} can be served.", style="green", markup=False, highlight=False)


@cli.command()
def predict(
    file: Annotated[str, typer.Argument(help="JSON, CSV, NPZ or NPY with a row a line or entry; - reads stdin.")],
    model: Annotated[Path | None, typer.Option(help="A model's folder. [highest version in --models]")] = None,
    uncertainty: Annotated[bool, typer.Option("--uncertainty", help="Ask many thinned networks too.")] = False,
    samples: Annotated[int | None, typer.Option(min=1, help="How many, with --uncertainty. [100]")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Which ones, with --uncertainty. [0]")] = None,
    models: Models = None,
) -> None:
    """Score a file from the shell; prints the same JSON as the service."""
    if not uncertainty and not (samples is None and seed is None):
        _stop("--samples and --seed go with --uncertainty", code=2)
    settings = _settings(models=models)
    try:
        engine = load_model(model or _default_model(settings), MaskCache(settings.mask_cache_bytes))
        answer = _score(engine, file, uncertainty, samples, seed, settings)
    except DropserveError as error:
        _stop(error.message)
    sys.stdout.buffer.write(answer + b"\n")


@cli.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Dropserve."""
    if version:
        out.print(__version__, highlight=False)
        raise typer.Exit


def _score(
    engine: Engine, file: str, uncertainty: bool, samples: int | None, seed: int | None, settings: Settings
) -> bytes:
    """The answer as the service gives it; the command line goes before what a JSON file asks for."""
    content = _read(file)
    kind = guess_kind(file, content)
    inputs = read_rows(content, kind, engine.manifest)
    if not uncertainty:
        return encode_prediction(engine.manifest, engine.predict(inputs))
    request = read_request(content, kind)
    asked = (request.samples, request.seed) if request else (None, None)
    passes = samples or asked[0] or settings.samples
    sampled = engine.sample(inputs, passes, choose_seed(asked[1] if seed is None else seed, settings.seed))
    return encode_uncertainty(engine.manifest, sampled)


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        _stop(f"{file}: cannot be read: {error.strerror}")


def _default_model(settings: Settings) -> Path:
    folders = list(find_models(settings.models))
    wanted = settings.default_model or (folders[0].parent.name if folders else "")
    versions = [folder for folder in folders if folder.parent.name == wanted]
    if not versions:
        _stop(f"there is no model {wanted or ''} in {settings.models}; say which with --model")
    return versions[-1]


def _settings(**given: Any) -> Settings:
    """From the environment, the command line first."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        names = [
            f"--{name}" if given.get(str(name)) is not None else f"DROPSERVE_{name!s}".upper() for name in first["loc"]
        ]
        found = f", found {first['input']!r}" if names else ""
        _stop(f"{names[0] if names else 'settings'}: {first['msg'].removeprefix('Value error, ')}{found}", code=2)


def _tell(checks: list[Check]) -> None:
    for passed in checks:
        _say(out, "✓", "green", f"{passed.name}: {passed.detail}")


def _say(where: Console, mark: str, style: str, message: str) -> None:
    """A marked line; brackets in the message are brackets, not markup."""
    where.print(Text.assemble((mark, style), f" {message}"))


def _stop(message: str, code: int = 1) -> NoReturn:
    _say(err, "Error:", "red", message)
    raise typer.Exit(code)


if __name__ == "__main__":
    cli()
