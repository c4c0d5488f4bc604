"""A real cluster of Ray on this machine: several nodes, each with processes of its own."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MEMORY = 100 * 2**20
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONWARNINGS": "default", "OMP_NUM_THREADS": "1"}
"""Ray reports no use of it, and its processes do not take its own warnings for errors."""


@contextmanager
def ray_cluster(nodes: int, cpus: float) -> Iterator[Any]:
    """A head that does no work, and so many nodes that do. Skips where Ray is not installed."""
    utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed: pip install '.[ray]'")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        cluster = utils.Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False},
        )
        try:
            for _ in range(nodes):
                cluster.add_node(num_cpus=cpus, object_store_memory=MEMORY)
            yield cluster
        finally:
            cluster.shutdown()


@contextmanager
def command(log: Path, *words: str | Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the repository's folder; whatever a test does, it is stopped in the end."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(word) for word in words], cwd=ROOT, stdout=file, stderr=file, env=os.environ | environment
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()


def processes(title: str) -> list[int]:
    """The ids of processes that call themselves so, as Ray's do by their actors."""
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if title in _read(path)]


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # it has ended
        return ""
