"""A real Prometheus with the repository's configuration, for tests."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.conftest import PATIENCE, wait_until
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
OBSERVABILITY = ROOT / "deploy/observability"
CONFIGURATION = OBSERVABILITY / "prometheus"
KEY_FILE = "/run/dropserve/metrics_key"

FASTER = {
    "prometheus.yml": (("15s", "1s"),),
    "recording.yml": (("interval: 1m", "interval: 1s"), ("[1d] offset 1h", "[1d] offset 3s")),
}
"""A test does not wait for a minute, nor for a day."""


def need_prometheus() -> None:
    """Skip without Prometheus and promtool; fail where REQUIRE_PROMETHEUS is set."""
    if not (shutil.which("prometheus") and shutil.which("promtool")):
        reason = "Prometheus and promtool are not installed (apt-get install prometheus)"
        pytest.fail(reason) if os.environ.get("REQUIRE_PROMETHEUS") else pytest.skip(reason)


class Prometheus(NamedTuple):
    """One that runs."""

    client: httpx.Client

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The series of an instant query; a query that it does not understand fails the test."""
        answer = self.client.get("/api/v1/query", params={"query": query}).json()
        assert answer["status"] == "success", f"{query}: {answer}"
        return list(answer["data"]["result"])

    def rules(self) -> list[dict[str, Any]]:
        """All rules, with how they fare."""
        groups = self.client.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def targets(self) -> list[dict[str, Any]]:
        """What it scrapes."""
        return list(self.client.get("/api/v1/targets").json()["data"]["activeTargets"])


@contextmanager
def prometheus(folder: Path, address: str, key: str) -> Iterator[Prometheus]:
    """Scrapes a service, with the key that it is shown; what it keeps lies in the folder."""
    configuration = configure(folder, address, key)
    port = free_port()
    options = [f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            ["prometheus", *options, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            wait_until(lambda: _is_ready(client))
            yield Prometheus(client)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def configure(folder: Path, address: str = "dropserve:8000", key: str = "") -> Path:
    """The repository's configuration for another address, with faster clocks; where it lies."""
    copy = Path(shutil.copytree(CONFIGURATION, folder / "configuration"))
    key_file = folder / "metrics_key"
    key_file.write_text(key)
    for name, changes in FASTER.items():
        _change(copy / name, *changes)
    _change(copy / "prometheus.yml", (KEY_FILE, str(key_file)))
    _change(copy / "targets.yml", ("dropserve:8000", address))
    return copy / "prometheus.yml"


def _change(file: Path, *changes: tuple[str, str]) -> None:
    text = file.read_text()
    for old, new in changes:
        assert old in text, f"{file.name} does not say {old!r} any more"
        text = text.replace(old, new)
    file.write_text(text)


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False
