"""Store the prediction log in SQLite or PostgreSQL, by SQLAlchemy, with one connection per transaction."""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DataError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from service.errors import InvalidStore, StoreAway
from service.review.rows import Label, Row
from service.review.store import Entry, Query, unknown_place

SECONDS = 5
"""The timeout of connecting and of waiting for a lock; a statement may take twice as long."""
LONGEST = 6.0 * SECONDS
"""The timeout of a whole transaction, in seconds, for a server that no longer answers."""
LIMIT = "limit"
"""The key of the timer in a connection's record."""

metadata = sa.MetaData()
predictions = sa.Table(
    "dropserve_predictions",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("time", sa.Double, nullable=False, index=True),
    sa.Column("request_id", sa.String, nullable=False),
    sa.Column("route", sa.String, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("row", sa.Integer, nullable=False),
    sa.Column("inputs", sa.Text),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("samples", sa.Integer, nullable=False),
    sa.Column("seed", sa.BigInteger),
    sa.Column("predictive_entropy", sa.Double),
    sa.Column("mutual_information", sa.Double),
    sa.Column("decision", sa.String),
    sa.Index("dropserve_predictions_referred", "decision", "time"),
)
labels = sa.Table(
    "dropserve_labels",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("prediction", sa.String, nullable=False, index=True),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("by", sa.String),
    sa.Column("key", sa.String),
    sa.Column("time", sa.Double, nullable=False),
)
RANKS: dict[str, sa.ColumnElement[float]] = {
    "newest": predictions.c.time,
    "information": sa.func.coalesce(predictions.c.mutual_information, -1.0),
}
LABEL = [labels.c[name] for name in Label._fields]

DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}
OPTIONS: dict[str, dict[str, Any]] = {
    "sqlite": {"timeout": SECONDS},
    "postgresql": {
        "connect_timeout": SECONDS,
        "tcp_user_timeout": 2000 * SECONDS,
        "options": f"-c statement_timeout={2000 * SECONDS}",
    },
}
INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class SqlStore:
    """A store of two tables, of rows and of labels."""

    def __init__(self, url: str) -> None:
        """Open a database's URL. Raises InvalidStore for an invalid URL, ModuleNotFoundError without its driver."""
        try:
            parsed = sa.make_url(url)
        except ArgumentError:
            raise InvalidStore("expected the URL of a database") from None
        kind = parsed.get_backend_name()
        self._name = parsed.render_as_string(hide_password=True)
        is_file = kind == "sqlite" and parsed.database and not parsed.database.startswith((":", "file:"))
        self._file = Path(parsed.database) if is_file and parsed.database else None  # SQLite would create it
        self._insert = INSERT[kind](predictions).on_conflict_do_nothing()
        self._engine = sa.create_engine(
            parsed.set(drivername=DRIVERS[kind]),
            poolclass=NullPool,
            connect_args=OPTIONS[kind],
            hide_parameters=True,  # callers' data must not get into the service's own log
        )
        if kind == "postgresql":
            sa.event.listen(self._engine, "connect", _limit, insert=True)  # before SQLAlchemy's own first statement
            sa.event.listen(self._engine, "close", _lift)

    def prepare(self) -> None:
        """Create missing tables."""
        with self._transaction(create=True) as connection:
            metadata.create_all(connection)

    def write(self, rows: Sequence[Row]) -> int:
        """Write rows in one transaction, or one by one if the database refuses a value of one of them."""
        try:
            self._put(rows)
        except (DataError, OverflowError):
            return sum(map(self._accepts, rows))
        return len(rows)

    def _accepts(self, row: Row) -> bool:
        try:
            self._put([row])
        except (DataError, OverflowError):
            return False
        return True

    def _put(self, rows: Sequence[Row]) -> None:
        with self._transaction() as connection:
            connection.execute(self._insert, [row._asdict() for row in rows])

    def prune(self, before: float) -> None:
        """Delete rows answered before this time, with their labels."""
        old = sa.select(predictions.c.id).where(predictions.c.time < before)
        with self._transaction() as connection:
            connection.execute(sa.delete(labels).where(labels.c.prediction.in_(old)))
            connection.execute(sa.delete(predictions).where(predictions.c.time < before))

    def find(self, prediction: str) -> Entry | None:
        """Return the row with this id, or None."""
        with self._transaction() as connection:
            found = self._entries(connection, sa.select(predictions).where(predictions.c.id == prediction))
        return found[0] if found else None

    def select(self, query: Query) -> list[Entry]:
        """Return at most `limit` rows. Raises InvalidInput for an unknown `after`."""
        rank = RANKS[query.order]
        place = sa.tuple_(rank, predictions.c.id)
        found = sa.select(predictions).where(*_conditions(query)).order_by(rank.desc(), predictions.c.id.desc())
        with self._transaction() as connection:
            if query.after is not None:
                last = connection.execute(sa.select(rank).where(predictions.c.id == query.after)).scalar()
                if last is None:
                    raise unknown_place(query.after)
                found = found.where(place < sa.tuple_(sa.literal(last), sa.literal(query.after)))
            return self._entries(connection, found.limit(query.limit))

    def labelled(self, model: str) -> Iterator[Entry]:
        """Return all labelled rows of a model, by id."""
        known = sa.select(labels.c.prediction)
        chosen = sa.select(predictions).where(predictions.c.model == model, predictions.c.id.in_(known))
        with self._transaction() as connection:
            return iter(self._entries(connection, chosen.order_by(predictions.c.id)))

    def add_label(self, label: Label) -> None:
        """Add a label to the row's earlier ones."""
        with self._transaction() as connection:
            connection.execute(sa.insert(labels), label._asdict())

    def _entries(self, connection: sa.Connection, chosen: sa.Select[Any]) -> list[Entry]:
        rows = [Row(*found) for found in connection.execute(chosen)]
        ids = chosen.with_only_columns(predictions.c.id).subquery()
        given = sa.select(*LABEL).where(labels.c.prediction.in_(sa.select(ids.c.id))).order_by(labels.c.number)
        history: dict[str, list[Label]] = {}
        for found in connection.execute(given):
            history.setdefault(found.prediction, []).append(Label(*found))
        return [Entry(row, tuple(history.get(row.id, ()))) for row in rows]

    @contextmanager
    def _transaction(self, *, create: bool = False) -> Iterator[sa.Connection]:
        if self._file and not create and not self._file.exists():
            raise StoreAway(f"the store of the prediction log, {self._name}, cannot be used: there is no such file")
        try:
            with self._engine.begin() as connection:
                yield connection
        except DataError:
            raise  # the database works, but refuses a value
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", error)).partition("\n")[0]
            raise StoreAway(f"the store of the prediction log, {self._name}, cannot be used: {reason}") from None


def _limit(driver: Any, record: sa.pool.ConnectionPoolEntry) -> None:
    """Shut a connection's socket down after LONGEST seconds, as libpq has no timeout for a server that hangs.

    The socket is a duplicate, so that the timer never affects a later connection with the same descriptor.
    """
    duplicate = socket.socket(fileno=os.dup(driver.fileno()))
    timer = Timer(LONGEST, _shut_down, [duplicate])
    timer.daemon = True
    timer.start()
    record.info[LIMIT] = duplicate, timer


def _lift(_: Any, record: sa.pool.ConnectionPoolEntry) -> None:
    duplicate, timer = record.info.pop(LIMIT)
    timer.cancel()
    duplicate.close()


def _shut_down(duplicate: socket.socket) -> None:
    with duplicate, suppress(OSError):  # the connection has ended by itself
        duplicate.shutdown(socket.SHUT_RDWR)


def _conditions(query: Query) -> Iterator[sa.ColumnElement[bool]]:
    if query.decision != "any":
        yield predictions.c.decision == query.decision
    if query.model is not None:
        yield predictions.c.model == query.model
    if query.state != "all":
        known = sa.exists().where(labels.c.prediction == predictions.c.id)
        yield known if query.state == "labelled" else ~known
