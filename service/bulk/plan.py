"""What a job of scoring is: the model, the question, the files, and so the pieces, one a row group of Parquet.

A file of another format is one group.

The plan is written into the folder of answers before the first of them. A rerun plans again: if the two agree, what is
there is part of the same job, and only what is missing is done.
"""

from typing import NamedTuple

import msgspec

from service.bulk.sources import Reader
from service.bulk.store import Store, find
from service.engine.pieces import ModelKey
from service.engine.sampling import Sampling
from service.errors import InvalidInput, InvalidRequest
from service.model.manifest import Manifest
from service.rows.csv_table import PLAIN
from service.rows.dialect import Dialect

PLAN = "_plan.json"
SUCCESS = "_SUCCESS"
"""There once all answers are, as Hadoop and Spark write it."""


class Question(msgspec.Struct, frozen=True):
    """What is asked about every row."""

    samples: int | None = None
    """Thinned networks; None: only the deterministic answer."""
    seed: int = 0
    keep: tuple[str, ...] = ()
    """Columns to be copied beside the answers."""
    dialect: Dialect = PLAIN
    """What is said of files of text."""

    @property
    def sampling(self) -> Sampling | None:
        """As engines take it."""
        return None if self.samples is None else Sampling(self.samples, self.seed)


class Source(msgspec.Struct, frozen=True):
    """A file of rows."""

    place: str
    state: str
    groups: tuple[int, ...]
    """Rows of each row group."""


class Piece(NamedTuple):
    """A row group of a file, whose answers are a file of their own."""

    name: str
    place: str
    group: int
    first: int
    """The number of its first row in the file."""
    rows: int


class Plan(msgspec.Struct, frozen=True):
    """All that the answers depend on."""

    model: str
    version: int
    digest: str
    question: Question
    sources: tuple[Source, ...]

    @property
    def key(self) -> ModelKey:
        """Which model answers."""
        return ModelKey(self.model, self.version, self.digest)

    def pieces(self) -> list[Piece]:
        """In the order of the rows; those of no rows are left out."""
        return [
            Piece(f"part-{number:05}-{group:05}.parquet", source.place, group, sum(source.groups[:group]), rows)
            for number, source in enumerate(self.sources)
            for group, rows in enumerate(source.groups)
            if rows
        ]


def make_plan(model: ModelKey, manifest: Manifest, question: Question, inputs: str) -> Plan:
    """Look at all files. Raises InvalidInput where there are none, or one is not Parquet or lacks a column."""
    sources = tuple(Source(place, state, _groups(place, manifest, question)) for place, state in find(inputs))
    return Plan(*model, question, sources)


def take_up(plan: Plan, out: Store) -> list[Piece]:
    """The pieces that are still to be done. Raises InvalidInput when the folder holds answers of another job."""
    there = out.names()
    if PLAN in there:
        _check_same(msgspec.json.decode(out.read(PLAN), type=Plan), plan)
    elif there:
        raise InvalidInput(f"--out: expected an empty folder, or one of this job; found {min(there)}", field="out")
    else:
        with out.writing(PLAN) as file:
            file.write(msgspec.json.format(msgspec.json.encode(plan)))
    return [piece for piece in plan.pieces() if piece.name not in there]


def finish(plan: Plan, out: Store) -> None:
    """Say that all is there. Raises InvalidInput, which would be a mistake of ours, when it is not."""
    missing = {piece.name for piece in plan.pieces()} - out.names()
    if missing:
        raise InvalidInput(f"{min(missing)}: was not written; run the same command again", missing=len(missing))
    out.sweep()
    with out.writing(SUCCESS):
        pass


def _groups(place: str, manifest: Manifest, question: Question) -> tuple[int, ...]:
    try:
        return Reader(manifest, question.keep, question.dialect).groups(place)
    except OSError as error:
        raise InvalidInput(f"{place}: cannot be read: {error}", field="inputs") from None
    except InvalidRequest as error:
        raise InvalidInput(f"{place}: {error.message}", **error.details) from None


def _check_same(before: Plan, now: Plan) -> None:
    was, found = _facts(before), _facts(now)
    for name in {**was, **found}:
        if was.get(name) != found.get(name):
            change = f"{name} was {was.get(name, 'not there')}, and is {found.get(name, 'not there')}"
            raise InvalidInput(f"--out: holds answers of another job: {change}; give another folder", field="out")


def _facts(plan: Plan) -> dict[str, object]:
    """All that must be the same, by what it is called."""
    facts: dict[str, object] = {"model": f"{plan.model}/{plan.version}", "its manifest": plan.digest}
    facts |= msgspec.structs.asdict(plan.question)
    return facts | {source.place: f"{source.state} in groups of {source.groups}" for source in plan.sources}
