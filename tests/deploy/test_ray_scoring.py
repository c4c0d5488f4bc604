"""Scoring on a cluster: what one process answers, although a machine, or the whole job, dies in the middle."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from subprocess import Popen
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from service.bulk.plan import PLAN, SUCCESS
from tests.conftest import wait_until
from tests.deploy.ray_cluster import command, processes, ray_cluster
from tests.service.test_cli import run
from tests.toy import ToyNet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NET = ToyNet(hidden=2048)
PIECES, ROWS = 24, 2000
"""Of some tenths of a second each."""
QUESTION = ("--uncertainty", "--samples", "100", "--seed", "3", "--keep", "id")
WORKER = "ray::MapWorker(Map(Worker))"
SLOW_START = 120.0
"""Seconds that the first actors may take on a busy machine."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with ray_cluster(nodes=2, cpus=1) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The command, all but where the answers go."""
    folder = tmp_path_factory.mktemp("job")
    NET.publish(folder / "models")
    (folder / "rows").mkdir()
    for number in range(2):
        rows = NET.rows(PIECES // 2 * ROWS, seed=number)
        columns = {f"x{i}": rows[:, i] for i in range(rows.shape[1])}
        ids = [f"{number}-{i}" for i in range(len(rows))]
        parquet.write_table(pa.table(columns | {"id": ids}), folder / f"rows/{number}.parquet", row_group_size=ROWS)
    return ("score", str(folder / "rows" / "*.parquet"), "--models", str(folder / "models"), *QUESTION)


@pytest.fixture(scope="module")
def expected(job: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """What a single process answers."""
    out = tmp_path_factory.mktemp("expected") / "out"
    result = run(*job, "--out", out)
    assert result.exit_code == 0, result.stderr
    return answers(out)


def answers(out: Path) -> pa.Table:
    """In the order of the parts."""
    parts = sorted(out.glob("part-*"))
    assert len(parts) == PIECES
    return pa.concat_tables(
        [parquet.read_table(part) for part in parts], promote_options="default"
    ).unify_dictionaries()


def on_ray(cluster: Any, job: tuple[str, ...], out: Path, *options: str) -> AbstractContextManager[Popen[bytes]]:
    words = ("-m", "service", *job, "--out", str(out), "--ray", *options)
    return command(out.with_suffix(".log"), sys.executable, *words, RAY_ADDRESS=cluster.address)


def wait_for_parts(process: Popen[bytes], out: Path, count: int) -> None:
    wait_until(lambda: len(list(out.glob("part-*"))) >= count or process.poll() is not None, SLOW_START)
    assert process.poll() is None, out.with_suffix(".log").read_text()


def test_a_job_that_is_killed_is_taken_up_on_the_cluster(
    cluster: Any, job: tuple[str, ...], expected: pa.Table, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with on_ray(cluster, job, out) as process:
        wait_for_parts(process, out, 3)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (out / SUCCESS).exists()
    kept = {part.name: part.stat().st_mtime_ns for part in out.glob("part-*")}
    with on_ray(cluster, job, out) as process:
        assert process.wait(SLOW_START) == 0, out.with_suffix(".log").read_text()
    assert "of them from before" in out.with_suffix(".log").read_text()
    assert answers(out).equals(expected)
    assert all((out / name).stat().st_mtime_ns == at for name, at in kept.items())


def test_a_machine_that_dies_in_the_middle_loses_nothing(
    cluster: Any, job: tuple[str, ...], expected: pa.Table, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with on_ray(cluster, job, out, "--workers", "2") as process:  # one on each machine
        wait_until(lambda: len(processes(WORKER)) == 2 or process.poll() is not None, SLOW_START)
        wait_for_parts(process, out, 4)
        assert len(processes(WORKER)) == 2
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        assert len(list(out.glob("part-*"))) < PIECES
        assert process.wait(240) == 0, out.with_suffix(".log").read_text()
    assert {path.name for path in out.iterdir()} == {PLAN, SUCCESS, *(part.name for part in out.glob("part-*"))}
    found = answers(out)
    assert found.equals(expected)
    assert len(set(found["id"].to_pylist())) == found.num_rows == PIECES * ROWS
    assert sum(sum(source["groups"]) for source in json.loads((out / PLAN).read_text())["sources"]) == found.num_rows
