"""schemathesis asks all that the description describes, and what it describes not; and follows its links.

One check is left out: that all that fits the schema is accepted. What fits the model, how many values a row has, which
coverages it was calibrated for, only the model says. One more for one path, at which a model of that name may be asked
for too, as the description says of the path with the name in it.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.processes import Service, service
from tests.toy import ToyNet

LEFT_OUT = "positive_data_acceptance"
UNLOADED = f"{LEFT_OUT},not_a_server_error"
"""Where models may be unloaded, 503 is right; a mistake of ours would be in the log."""
NAMED_REFRESH = """
[[operations]]
include-path = "/v1/models/refresh"
checks.allow_header_conformance.enabled = false
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Service]:
    """Two versions of the toy and a regression, with low limits."""
    models = tmp_path / "models"
    ToyNet().publish(models)
    ToyNet(seed=1).publish(models, version=2)
    ToyNet(seed=2, outputs=1).publish(models, name="yield", task="regression", labels=(), noise={"std": 0.3})
    with service(
        tmp_path, DROPSERVE_MODELS=str(models), DROPSERVE_MAX_ROW_SAMPLES="20000", DROPSERVE_SAMPLES="20"
    ) as one:
        yield one


def examine(running: Service, folder: Path, *options: str) -> None:
    """Ask schemathesis; what it says is the message of a failure."""
    (folder / "schemathesis.toml").write_text(NAMED_REFRESH)
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{running.client.base_url}/openapi.json"]
    done = subprocess.run(
        [*command, "--seed", "1", "--no-color", "--generation-database", "none", "--warnings", "off", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert running.said("unexpected error") == []
    assert running.stop() == 0


def test_all_that_is_described_is_so(running: Service, tmp_path: Path) -> None:
    """Nothing is unloaded, so every answer from 500 on would be a mistake."""
    options = ["--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--exclude-path-regex", "/unload$"]
    examine(running, tmp_path, *options, "--exclude-checks", LEFT_OUT)


def test_links_lead_on(running: Service, tmp_path: Path) -> None:
    examine(running, tmp_path, "--phases", "stateful", "--max-examples", "20", "--exclude-checks", UNLOADED)
