"""The plan of a scoring job: the model, the options and the files, with one piece per row group of Parquet.

A file of another format is one group.

The plan is written to the folder of answers before the first answer. A rerun plans again: if both plans agree, the
existing answers belong to the same job, and only missing pieces are done.
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
"""The marker of a complete job, as written by Hadoop and Spark."""


class Options(msgspec.Struct, frozen=True):
    """The options of a job, the same for every row."""

    samples: int | None = None
    """Number of samples; None: only the deterministic answer."""
    seed: int = 0
    keep: tuple[str, ...] = ()
    """Columns to copy beside the answers."""
    dialect: Dialect = PLAIN
    """The options of text files."""

    @property
    def sampling(self) -> Sampling | None:
        """The options of sampling for an engine."""
        return None if self.samples is None else Sampling(self.samples, self.seed)


class Source(msgspec.Struct, frozen=True):
    """A file of rows."""

    place: str
    state: str
    groups: tuple[int, ...]
    """The number of rows of each row group."""


class Piece(NamedTuple):
    """A row group of a file, with one file of answers."""

    name: str
    place: str
    group: int
    first: int
    """The number of the first row in the file."""
    rows: int


class Plan(msgspec.Struct, frozen=True):
    """Everything that determines the answers."""

    model: str
    version: int
    digest: str
    options: Options = msgspec.field(name="question")
    sources: tuple[Source, ...]

    @property
    def key(self) -> ModelKey:
        """The identity of the model."""
        return ModelKey(self.model, self.version, self.digest)

    def pieces(self) -> list[Piece]:
        """Return the pieces in the order of the rows, without empty ones."""
        return [
            Piece(f"part-{number:05}-{group:05}.parquet", source.place, group, sum(source.groups[:group]), rows)
            for number, source in enumerate(self.sources)
            for group, rows in enumerate(source.groups)
            if rows
        ]


def make_plan(model: ModelKey, manifest: Manifest, options: Options, inputs: str) -> Plan:
    """Return the plan of a job. Raises InvalidInput without files, or for one that is invalid or lacks a column."""
    sources = tuple(Source(place, state, _groups(place, manifest, options)) for place, state in find(inputs))
    return Plan(*model, options, sources)


def take_up(plan: Plan, out: Store) -> list[Piece]:
    """Start or resume a job, and return its missing pieces. Raises InvalidInput for a folder of another job."""
    names = out.names()
    if PLAN in names:
        _check_same(msgspec.json.decode(out.read(PLAN), type=Plan), plan)
    elif names:
        raise InvalidInput(f"--out: expected an empty folder, or one of this job; found {min(names)}", field="out")
    else:
        with out.writing(PLAN) as file:
            file.write(msgspec.json.format(msgspec.json.encode(plan)))
    return [piece for piece in plan.pieces() if piece.name not in names]


def finish(plan: Plan, out: Store) -> None:
    """Mark the job as complete. Raises InvalidInput for a missing file, which does not happen without a bug."""
    missing = {piece.name for piece in plan.pieces()} - out.names()
    if missing:
        raise InvalidInput(f"{min(missing)}: was not written; run the same command again", missing=len(missing))
    out.sweep()
    with out.writing(SUCCESS):
        pass


def _groups(place: str, manifest: Manifest, options: Options) -> tuple[int, ...]:
    try:
        return Reader(manifest, options.keep, options.dialect).groups(place)
    except OSError as error:
        raise InvalidInput(f"{place}: cannot be read: {error}", field="inputs") from None
    except InvalidRequest as error:
        raise InvalidInput(f"{place}: {error.message}", **error.details) from None


def _check_same(before: Plan, now: Plan) -> None:
    was, found = _facts(before), _facts(now)
    for name in {**was, **found}:
        if was.get(name) != found.get(name):
            change = f"{name} was {was.get(name, 'absent')}, and is {found.get(name, 'absent')}"
            raise InvalidInput(f"--out: has answers of another job: {change}; use another folder", field="out")


def _facts(plan: Plan) -> dict[str, object]:
    """Return everything that must be the same, by its name in messages."""
    facts: dict[str, object] = {"model": f"{plan.model}/{plan.version}", "its manifest": plan.digest}
    facts |= msgspec.structs.asdict(plan.options)
    return facts | {source.place: f"{source.state} in groups of {source.groups}" for source in plan.sources}
