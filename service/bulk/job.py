"""Run a scoring job: plan it, do its missing pieces, and mark it as complete."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from rich.console import Console

from service.bulk.plan import Options, Piece, Plan, finish, make_plan, take_up
from service.bulk.scoring import choose_model
from service.bulk.store import Store
from service.bulk.work import Done, score_piece
from service.config import Settings
from service.engine.engine import Engine
from service.engine.masks import MaskCache
from service.errors import InvalidInput
from service.extras import remedy
from service.loading.load import load_model
from service.progress import progress


class Tally(NamedTuple):
    """The result of a run of a job."""

    pieces: int
    before: int
    """Pieces done by earlier runs."""
    rows: int
    seconds: float
    processor_seconds: float
    """Processor seconds of all processes that did the pieces."""

    def __str__(self) -> str:
        """Return pieces, rows and speed in one line."""
        pieces = f"{self.pieces} {'piece' if self.pieces == 1 else 'pieces'}" + (
            f", {self.before} of them from before" if self.before else ""
        )
        if not self.rows:
            return pieces
        return (
            f"{pieces}; {self.rows} rows in {self.seconds:.1f} s: {self.rows / self.seconds:.0f} rows/s,"
            f" {self.rows / self.processor_seconds:.0f} for each second of a core"
        )


def score_files(
    inputs: str,
    out: str,
    options: Options,
    model: str | None,
    settings: Settings,
    *,
    on_ray: bool = False,
    workers: int | None = None,
) -> Tally:
    """Score the rows of all files, and resume an interrupted job.

    Raises InvalidInput for a folder of another job, for rows without an answer, and if Ray is not installed;
    UnknownModel, InvalidModel and OSError.
    """
    folder = choose_model(model, settings)
    engine = load_model(folder, MaskCache(settings.mask_cache_bytes))
    plan, answers = make_plan(engine.key, engine.manifest, options, inputs), Store(out)
    if on_ray:
        here = str(folder.absolute()) if isinstance(settings.models, Path) else model
        return _run(plan, answers, partial(_import_ray(), plan, answers, here, settings, workers))
    return _run(plan, answers, partial(_score_here, engine, plan, answers))


def _run(plan: Plan, out: Store, do: Callable[[Sequence[Piece]], Iterator[Done]]) -> Tally:
    todo = take_up(plan, out)
    started = perf_counter()
    done: list[Done] = []
    with progress("score", Console()) as position:
        position.at("pieces", 0, len(todo))
        for piece in do(todo) if todo else ():
            done.append(piece)
            position.at("pieces", len(done), len(todo))
    seconds = perf_counter() - started
    finish(plan, out)
    rows, processor = sum(piece.rows for piece in done), sum(piece.processor_seconds for piece in done)
    pieces = len(plan.pieces())
    return Tally(pieces, pieces - len(todo), rows, seconds, processor)


def _score_here(engine: Engine, plan: Plan, out: Store, todo: Sequence[Piece]) -> Iterator[Done]:
    """Score one piece after another in this process."""
    for piece in todo:
        yield score_piece(engine, plan.options, piece, out)


def _import_ray() -> Callable[..., Iterator[Done]]:
    try:
        from service.bulk.on_ray import score_on_ray
    except ModuleNotFoundError as error:
        raise InvalidInput(f"--ray: {error.name} is not installed; {remedy('ray')}", field="ray") from None
    return score_on_ray
