"""A whole job: plan, do what is not there yet, say so when all is."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from rich.console import Console

from service.bulk.plan import Piece, Plan, Question, finish, make_plan, take_up
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
    """What a run of a job did."""

    pieces: int
    before: int
    """Pieces that were there already."""
    rows: int
    seconds: float
    processor_seconds: float
    """Of the processes that did the pieces, together."""

    def __str__(self) -> str:
        there = f"{self.pieces} pieces" + (f", {self.before} of them from before" if self.before else "")
        if not self.rows:
            return there
        return (
            f"{there}; {self.rows} rows in {self.seconds:.1f} s: {self.rows / self.seconds:.0f} rows/s,"
            f" {self.rows / self.processor_seconds:.0f} for each second of a core"
        )


def score_files(
    inputs: str,
    out: str,
    question: Question,
    model: str | None,
    settings: Settings,
    *,
    on_ray: bool = False,
    workers: int | None = None,
) -> Tally:
    """Answers to the rows of all files. A job that broke off is taken up where it did.

    Raises InvalidInput for a folder of another job, for rows that have no answer, and for Ray where it is not
    installed; UnknownModel or InvalidModel; OSError.
    """
    folder = choose_model(model, settings)
    engine = load_model(folder, MaskCache(settings.mask_cache_bytes))
    plan, answers = make_plan(engine.key, engine.manifest, question, inputs), Store(out)
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
    """One after the other, in this process."""
    for piece in todo:
        yield score_piece(engine, plan.question, piece, out)


def _import_ray() -> Callable[..., Iterator[Done]]:
    try:
        from service.bulk.on_ray import score_on_ray
    except ModuleNotFoundError as error:
        raise InvalidInput(f"--ray: {error.name} is not installed; {remedy('ray')}", field="ray") from None
    return score_on_ray
