"""Store the prediction log in a folder, rows as Parquet files and labels as JSON files.

Workers share the folder without a lock: each writes files of its own under a temporary name and renames them, and no
file is changed afterwards.

    predictions/<day>/<time>-<token>.parquet    rows of one write of a worker
    labels/<time>-<token>.json                  one label of one row
"""

import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import dataset, parquet

from service.errors import StoreAway
from service.review.rows import Label, Row
from service.review.store import Entry, Query, unknown_place

P = ParamSpec("P")
T = TypeVar("T")

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("time", pa.float64()),
        ("request_id", pa.string()),
        ("route", pa.string()),
        ("model", pa.string()),
        ("version", pa.int32()),
        ("row", pa.int32()),
        ("inputs", pa.string()),
        ("answer", pa.string()),
        ("samples", pa.int32()),
        ("seed", pa.int64()),
        ("predictive_entropy", pa.float64()),
        ("mutual_information", pa.float64()),
        ("decision", pa.string()),
    ]
)
BATCH_ROWS = 1000
RANK = {"newest": "time", "information": "mutual_information"}


def _as_store_away(method: Callable[Concatenate["ParquetStore", P], T]) -> Callable[Concatenate["ParquetStore", P], T]:
    """Raise a method's OSError as StoreAway."""

    @wraps(method)
    def called(store: "ParquetStore", /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(store, *args, **kwargs)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StoreAway(f"the folder of the prediction log, {store.folder}, cannot be used: {reason}") from None

    return called


class ParquetStore:
    """A store in a folder; reading scans all files, so that it takes longer than the index of a database."""

    def __init__(self, folder: Path) -> None:
        """Store the log in a folder, which `prepare` creates."""
        self.folder = folder
        self._predictions, self._labels = folder / "predictions", folder / "labels"

    @_as_store_away
    def prepare(self) -> None:
        """Create missing folders."""
        self._predictions.mkdir(parents=True, exist_ok=True)
        self._labels.mkdir(parents=True, exist_ok=True)

    @_as_store_away
    def write(self, rows: Sequence[Row]) -> int:
        """Write rows to one file, and return their number."""
        day = self._predictions / datetime.fromtimestamp(rows[-1].time, UTC).strftime("%Y-%m-%d")
        day.mkdir(exist_ok=True)
        with _whole(day / f"{_file_name()}.parquet") as beside:
            parquet.write_table(pa.Table.from_batches(_batches(rows), SCHEMA), beside, compression="zstd")
        return len(rows)

    @_as_store_away
    def prune(self, before: float) -> None:
        """Delete files whose last row was answered before this time, and labels without a row."""
        for file in _files(self._predictions, "*/*"):
            if file.stat().st_mtime < before:
                file.unlink(missing_ok=True)
        files = _files(self._labels, "*.json")  # listed before the rows: all rows labelled so far have been written
        if files:
            kept = set(self._read(pc.scalar(True), ["id"])["id"].to_pylist())
            for file in files:
                if _label(file).prediction not in kept:
                    file.unlink(missing_ok=True)

    def find(self, prediction: str) -> Entry | None:
        """Return the row with this id, or None."""
        found = self._read(pc.field("id") == prediction)
        return self._entries(found, self._read_labels())[0] if found.num_rows else None

    def select(self, query: Query) -> list[Entry]:
        """Return at most `limit` rows. Raises InvalidInput for an unknown `after`."""
        labels, rank = self._read_labels(), RANK[query.order]
        chosen = _condition(query, labels)
        if query.after is not None:
            place = self._read(pc.field("id") == query.after, ["id", rank])
            if not place.num_rows:
                raise unknown_place(query.after)
            last = _or_least(place[rank][0].as_py())
            key = pc.coalesce(pc.field(rank), pc.scalar(-1.0))
            chosen &= (key < last) | ((key == last) & (pc.field("id") < query.after))
        ranks = self._read(chosen, ["id", rank])
        keys = sorted(zip(map(_or_least, ranks[rank].to_pylist()), ranks["id"].to_pylist(), strict=True), reverse=True)
        shown = [row for _, row in keys[: query.limit]]
        entries = {entry.row.id: entry for entry in self._entries(self._read(_among(shown)), labels)}
        return [entries[row] for row in shown if row in entries]

    def labelled(self, model: str) -> Iterator[Entry]:
        """Return all labelled rows of a model, by id."""
        labels = self._read_labels()
        found = self._read(_among(labels) & (pc.field("model") == model))
        return iter(self._entries(found.sort_by("id"), labels))

    @_as_store_away
    def add_label(self, label: Label) -> None:
        """Write a label to a file of its own, and flush it to disk."""
        with _whole(self._labels / f"{_file_name()}.json") as beside, beside.open("wb") as file:
            file.write(msgspec.json.encode(label._asdict()))
            file.flush()
            os.fsync(file.fileno())  # a crash must not leave an empty file in place of a person's work

    @_as_store_away
    def _read_labels(self) -> dict[str, list[Label]]:
        """Return all labels by row, oldest first."""
        labels: dict[str, list[Label]] = {}
        for file in sorted(_files(self._labels, "*.json")):
            label = _label(file)
            labels.setdefault(label.prediction, []).append(label)
        return labels

    @_as_store_away
    def _read(self, chosen: Any, columns: Sequence[str] | None = None) -> Any:
        """Return the rows for which an expression is true."""
        files = [str(file) for file in _files(self._predictions, "*/*.parquet")]
        try:
            return dataset.dataset(files, schema=SCHEMA, format="parquet").to_table(columns, filter=chosen)
        except pa.ArrowInvalid as error:  # its message names the file
            raise OSError(str(error)) from None

    def _entries(self, found: Any, labels: dict[str, list[Label]]) -> list[Entry]:
        return [Entry(Row(**row), tuple(labels.get(row["id"], ()))) for row in found.to_pylist()]


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Yield a temporary file, which is renamed to `path`, or removed after an error so that it takes no space."""
    beside = path.with_suffix(".new")
    try:
        yield beside
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def _batches(rows: Sequence[Row]) -> Iterator[Any]:
    """Yield batches of a few rows, as converting them holds the GIL."""
    for first in range(0, len(rows), BATCH_ROWS):
        columns = zip(*rows[first : first + BATCH_ROWS], strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)
        time.sleep(0)


def _among(ids: Iterable[str]) -> Any:
    return pc.field("id").isin(pa.array(ids, pa.string()))


def _condition(query: Query, labelled: Iterable[str]) -> Any:
    chosen = pc.scalar(True) if query.decision == "any" else pc.field("decision") == query.decision
    if query.model is not None:
        chosen &= pc.field("model") == query.model
    if query.state != "all":
        known = _among(labelled)
        chosen &= known if query.state == "labelled" else ~known
    return chosen


def _files(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a folder. Raises OSError if it does not exist, for which a pattern alone finds nothing."""
    folder.stat()
    return list(folder.glob(pattern))


def _label(file: Path) -> Label:
    try:
        return Label(**msgspec.json.decode(file.read_bytes()))
    except (msgspec.DecodeError, TypeError) as error:
        raise OSError(f"{file}: is not a label: {error}") from None


def _or_least(rank: float | None) -> float:
    return -1.0 if rank is None else rank


def _file_name() -> str:
    """Return a unique file name that sorts by time."""
    return f"{time.time_ns():020d}-{secrets.token_hex(4)}"
