"""The command line: serve models, check one, or score a file without a server."""

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from service import __version__
from service.api.replies import encode_prediction, encode_uncertainty
from service.api.requests import UncertaintyRequest, plan_sampling
from service.config import Settings
from service.engine import Engine, count_rows
from service.errors import DropserveError
from service.files import guess_kind, read_request, read_rows
from service.http.access import KeyScope, make_key
from service.http.server import run_server
from service.loading import Check, load_model
from service.masks import MaskCache
from service.repository.folder import find_models
from service.repository.mirror import open_mirror

cli = typer.Typer(
    name="python -m service",
    help="Serve dropout networks: a fast deterministic answer, and on request how much to trust it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)

Models = Annotated[str | None, typer.Option(help="Folder or URL of published models. [DROPSERVE_MODELS; models]")]


@cli.command()
def serve(
    models: Models = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. [DROPSERVE_HOST; 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one. [DROPSERVE_PORT; 8000]")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes. [DROPSERVE_WORKERS; 1]")] = None,
) -> None:
    """Answer HTTP requests. Every other setting is an environment variable: see docs/settings.md."""
    settings = _settings(models=models, host=host, port=port, workers=workers)
    try:
        run_server(settings)
    except DropserveError as error:
        _stop(error.message)


@cli.command()
def key(
    name: Annotated[str, typer.Option(help="Whose key it is; one word.")],
    scope: Annotated[KeyScope, typer.Option(help="infer: ask models; admin: load and unload them too.")] = "infer",
) -> None:
    """Make an API key. Prints it, once, and the line for the key file, which tells nobody the key."""
    try:
        secret, stored = make_key(name, scope)
    except DropserveError as error:
        _stop(error.message, code=2)
    out.print(f"key:  {secret}", highlight=False, markup=False)
    out.print(f"line: {stored.line()}", highlight=False, markup=False)


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
    request = read_request(content, kind) or UncertaintyRequest(inputs=msgspec.Raw())
    request.samples = samples or request.samples
    request.seed = request.seed if seed is None else seed
    sampling = plan_sampling(request, engine.manifest, count_rows(inputs), settings)
    return encode_uncertainty(engine.manifest, sampling, engine.sample(inputs, sampling), request)


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        _stop(f"{file}: cannot be read: {error.strerror}")


def _default_model(settings: Settings) -> Path:
    folders = list(find_models(_folder(settings)))
    wanted = settings.default_model or (folders[0].parent.name if folders else "")
    pinned = settings.pins.get(wanted)
    versions = [folder for folder in folders if folder.parent.name == wanted and pinned in (None, int(folder.name))]
    if not versions:
        _stop(f"there is no model {wanted or ''} in {settings.models}; say which with --model")
    return versions[-1]


def _folder(settings: Settings) -> Path:
    """The folder of models; behind a URL, its mirror as far as the store can be reached."""
    mirror = open_mirror(settings)
    if mirror is None:
        return Path(settings.models)
    try:
        mirror.sync()
    except OSError as error:
        err.print(f"{mirror.location}: {error}", highlight=False)
    return mirror.folder


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
