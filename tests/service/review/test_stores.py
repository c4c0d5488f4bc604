"""What a store must do, of each kind: a real folder, a real SQLite, a real PostgreSQL."""

import os
import resource
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy

from service.errors import InvalidInput, InvalidStore, StoreAway
from service.review.opening import open_store
from service.review.rows import Label, Row
from service.review.store import Query, Store
from tests.service.review.places import Place, Postgres

DAY = 86400.0


def a_row(number: int, **changes: object) -> Row:
    row = Row(
        id=f"a{number:02}-0",
        time=1000.0 + number,
        request_id="r",
        route="/uncertainty",
        model="toy",
        version=1,
        row=0,
        inputs="[1.5,2]",
        answer='{"label":"a"}',
        samples=10,
        seed=2**63 - 1,
        predictive_entropy=1.0,
        mutual_information=(number * 7 % 10) / 10,
        decision="refer",
    )
    return row._replace(**changes)  # type: ignore[arg-type]


def says(row: Row, label: str, by: str = "ann") -> Label:
    return Label(row.id, f'"{label}"', by, None, time.time())


@pytest.fixture
def store(place: Place | Postgres) -> Store:
    opened = open_store(place.where)
    opened.prepare()
    opened.prepare()  # again, as each worker does
    return opened


def listed(store: Store, **asked: object) -> list[str]:
    return [entry.row.id for entry in store.select(Query(**asked))]  # type: ignore[arg-type]


def test_what_is_written_is_read(store: Store) -> None:
    rows = [a_row(1), a_row(2, inputs=None, seed=None, predictive_entropy=None, mutual_information=None, decision=None)]
    store.write(rows)
    for row in rows:
        assert store.find(row.id) == (row, ())
    assert store.find("nobody") is None


def test_rows_written_twice_are_there_once(store: Store, place: Place | Postgres) -> None:
    """As after an answer of the database that was lost. Of files none is lost: one is there or is not."""
    store.write([a_row(1)])
    if "://" in place.where:
        store.write([a_row(1), a_row(2)])
        assert listed(store) == ["a02-0", "a01-0"]


@pytest.mark.parametrize("order", ["newest", "information"])
def test_pages_follow_each_other_without_gap_or_overlap(store: Store, order: str) -> None:
    rows = [a_row(number) for number in range(10)] + [a_row(20, mutual_information=None)]
    store.write(rows[:5])
    store.write(rows[5:])
    key = {"newest": lambda row: row.time, "information": lambda row: row.mutual_information or -1.0}[order]
    if order == "information":
        rows[0] = rows[0]._replace(mutual_information=1e-9)  # so that the order here is plain
    expected = [row.id for row in sorted(rows, key=key, reverse=True)]
    found, after = [], None
    while page := listed(store, order=order, limit=4, after=after):
        found += page
        after = page[-1]
        store.write([a_row(50 + len(found), time=2000.0, mutual_information=2.0)])  # what is new comes before
    assert found == expected
    with pytest.raises(InvalidInput, match="after: expected the id of a row"):
        store.select(Query(after="nobody"))


def test_rows_are_listed_by_model_decision_and_state(store: Store) -> None:
    store.write([a_row(1), a_row(2, model="other"), a_row(3, decision="accept"), a_row(4, decision=None)])
    store.add_label(says(a_row(1), "b"))
    assert listed(store) == ["a02-0"]
    assert listed(store, model="toy", state="all") == ["a01-0"]
    assert listed(store, decision="accept") == ["a03-0"]
    assert listed(store, decision="any", model="toy") == ["a04-0", "a03-0"]
    assert listed(store, state="labelled") == ["a01-0"]
    assert listed(store, model="'; DROP TABLE dropserve_labels; --") == []


def test_labels_are_kept_in_their_order_and_the_last_holds(store: Store) -> None:
    store.write([a_row(1), a_row(2), a_row(3, model="other")])
    said = [says(a_row(1), "b"), says(a_row(1), "c", "bob"), says(a_row(3), "a")]
    for label in said:
        store.add_label(label)
    entry = store.find("a01-0")
    assert entry
    assert entry.labels == tuple(said[:2])
    assert [(one.row.id, one.labels[-1].label) for one in store.labelled("toy")] == [("a01-0", '"c"')]


def test_old_rows_are_forgotten_with_their_labels(store: Store, place: Place | Postgres) -> None:
    now = time.time()
    old, new = a_row(1, time=now - 3 * DAY), a_row(2, time=now)
    store.write([old])
    store.add_label(says(old, "a"))
    if isinstance(place, Place):
        for file in Path(place.where.removeprefix("sqlite:///")).rglob("*.*"):
            os.utime(file, (old.time, old.time))  # by which files are judged
    store.write([new])
    store.prune(now - DAY)
    assert listed(store, state="all") == ["a02-0"]
    assert list(store.labelled("toy")) == []


def test_another_process_sees_the_same(store: Store, place: Place | Postgres) -> None:
    store.write([a_row(1)])
    code = (
        "import sys; from service.review.opening import open_store; from service.review.store import Query;"
        "print(len(open_store(sys.argv[1]).select(Query())))"
    )
    done = subprocess.run([sys.executable, "-c", code, place.where], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_an_unreachable_store_is_reported_and_may_return(store: Store, place: Place | Postgres) -> None:
    store.write([a_row(1)])
    place.go_away()
    try:
        numbers = count(2)
        for use in (
            lambda: store.write([a_row(next(numbers))]),
            store.prepare,
            lambda: store.find("a01-0"),
            lambda: store.select(Query()),
            lambda: list(store.labelled("toy")),
            lambda: store.add_label(says(a_row(1), "a")),
            lambda: store.prune(0.0),
        ):
            with pytest.raises(StoreAway, match="prediction log"):
                use()
    finally:
        place.come_back()
    store.prepare()
    store.write([a_row(9)])
    assert listed(store) == ["a09-0", "a01-0"]


@pytest.mark.parametrize("name", ["predictions/2026-01-01/torn.parquet", "labels/torn.json"])
@pytest.mark.parametrize("content", [b"", b"PAR1{"])
def test_a_file_that_is_damaged_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    """As a machine that lost its power may leave it."""
    store = open_store(tmp_path)
    store.prepare()
    store.write([a_row(1)])
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    for use in (lambda: store.find("a01-0"), lambda: store.select(Query()), lambda: list(store.labelled("toy"))):
        with pytest.raises(StoreAway, match=path.name):
            use()
    path.unlink()
    assert listed(store) == ["a01-0"]


def test_a_place_that_can_be_none_is_refused() -> None:
    with pytest.raises(InvalidStore, match="a URL of sqlite or postgresql; found mysql"):
        open_store("mysql://root@localhost/x")


def test_no_password_is_in_an_error() -> None:
    store = open_store("postgresql://ann:secret@127.0.0.1:1/x")
    with pytest.raises(StoreAway) as shown:
        store.prepare()
    assert "secret" not in shown.value.message


@pytest.mark.parametrize(("where", "package"), [("folder", "pyarrow"), ("sqlite:///x", "sqlalchemy")])
def test_a_missing_extra_is_named(where: str, package: str, tmp_path: Path) -> None:
    """At the start, in an interpreter in which it cannot be imported."""
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from service.__main__ import cli; sys.argv = ['service', 'serve', '--port', '0']; cli()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"DROPSERVE_PREDICTION_LOG": where},
    )
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert f"DROPSERVE_PREDICTION_LOG: needs {package}; in the repository's folder: " in said
    assert " -m pip install -e '.[log]' -c constraints.txt" in said


@pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)
def test_a_row_that_a_database_refuses_takes_no_others_with_it(store: Store) -> None:
    rows = [a_row(1), a_row(2, seed=2**63), a_row(3)]
    assert store.write(rows) == 2
    assert sorted(listed(store)) == [rows[0].id, rows[2].id]


def test_reading_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(StoreAway, match="there is no such file"):
        open_store(f"sqlite:///{tmp_path}/typo.db").labelled("toy")
    assert list(tmp_path.iterdir()) == []


def test_an_attempt_that_failed_leaves_nothing(tmp_path: Path) -> None:
    """Each left what it had written, and a full disk stayed full."""
    store = open_store(tmp_path)
    store.prepare()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # what a full disk does in the middle of a write
    try:
        with pytest.raises(StoreAway, match="File too large"):
            store.write([a_row(1)])
        with pytest.raises(StoreAway, match="File too large"):
            store.add_label(says(a_row(1), "a" * 200))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("when", ["connect", "begin"])
def test_a_server_that_hangs_is_not_waited_for_without_end(
    when: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its machine goes on acknowledging what is sent, so nothing else ends the wait. To a new connection SQLAlchemy has
    questions of its own first.
    """
    from service.review import sql

    monkeypatch.setattr(sql, "LONGEST", 1.0)
    postgres.make_database()
    store = open_store(postgres.where)
    assert isinstance(store, sql.SqlStore)

    def hang(*_: object) -> None:
        postgres.signal(signal.SIGSTOP)

    sqlalchemy.event.listen(store._engine, when, hang, insert=True)
    try:
        with pytest.raises(StoreAway):
            store.prepare()
    finally:
        sqlalchemy.event.remove(store._engine, when, hang)
        postgres.signal(signal.SIGCONT)
    store.prepare()
    store.write([a_row(1)])
    assert listed(store) == ["a01-0"]
