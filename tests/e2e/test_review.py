"""The loop closed: serve, refer, label, train on it, and serve what came of it."""

import json
import shutil
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.model.manifest import read_manifest
from tests.conftest import wait_until
from tests.e2e.conftest import train
from tests.e2e.test_docs import at, blocks
from tests.service.processes import service
from training.data import load_data, split_data


@pytest.mark.parametrize("kind", ["parquet", "sqlite"])
def test_what_was_referred_and_labelled_is_learned(trained: Path, tmp_path: Path, kind: str) -> None:
    models = Path(shutil.copytree(trained, tmp_path / "models"))
    where = str(tmp_path / "answers") if kind == "parquet" else f"sqlite:///{tmp_path}/log.db"
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 17, (30, 64)).tolist()  # like no digit
    digits, split = load_data("digits"), split_data(load_data("digits"), 0.1, 0.2, 0.2, 0)
    held_out = [split.test.inputs[0].tolist(), split.calibration.inputs[0].tolist()]
    environment = {"DROPSERVE_PREDICTION_LOG": where, "DROPSERVE_PREDICTION_LOG_SECONDS": "0.2"}
    with service(tmp_path, "--models", str(models), DROPSERVE_POLL_SECONDS="0.2", **environment) as running:
        client = running.client
        for rows in (noise, held_out):
            client.post("/uncertainty", json={"inputs": rows, "samples": 30}).raise_for_status()
        wait_until(lambda: len(_rows(client, decision="any")) == 32)
        referred = _rows(client, decision="refer", order="information")
        wanted = [row for row in referred if row["inputs"] in noise][:10]
        assert len(wanted) == 10
        for row in wanted:
            for label in ("3", "8"):  # the second corrects the first
                client.post(f"/v1/review/{row['id']}", json={"label": label, "by": "ann"}).raise_for_status()
        for row in _rows(client, decision="any"):
            if row["inputs"] in held_out:  # a person labels what the figures rest on: it must not be learned
                client.post(f"/v1/review/{row['id']}", json={"label": "1"}).raise_for_status()

        said = train(models, "--with-reviewed", where)
        assert "reviewed: 10 labelled rows added to the training part; 2 left out" in said
        wait_until(lambda: client.get("/v1/models/digits").json()["default_version"] == 2)
        client.post("/predict", json={"inputs": noise}).raise_for_status()
    before, after = (read_manifest(models / "digits" / str(version)) for version in (1, 2))
    assert after.training["train_rows"] == before.training["train_rows"] + 10
    for part in ("validation_rows", "calibration_rows", "test_rows"):
        assert after.training[part] == before.training[part]
    assert (after.training["reviewed_rows"], after.training["reviewed_left_out"]) == (10, 2)
    assert after.training_data == before.training_data
    assert "reviewed_sha256" in (models / "digits" / "2" / "MODEL_CARD.md").read_text()
    assert where not in json.dumps(after.model_dump(mode="json"))
    assert digits.sha256 == after.training_data.sha256  # type: ignore[union-attr]


def _rows(client: httpx.Client, **asked: str) -> list[dict[str, object]]:
    found = client.get("/v1/review", params={"limit": "1000", **asked})
    assert found.status_code == 200, found.text
    return found.json()["rows"]  # type: ignore[no-any-return]


def test_the_commands_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    environment = {"DROPSERVE_PREDICTION_LOG": str(tmp_path / "answers"), "DROPSERVE_PREDICTION_LOG_SECONDS": "1"}
    with service(tmp_path, **environment) as running:
        (script,) = [block for block in blocks("docs/review.md", "sh") if "curl" in block]
        done = subprocess.run(
            ["bash", "-ec", at(str(running.client.base_url), script)], capture_output=True, text=True, check=True
        )
        last = json.loads(done.stdout[done.stdout.rindex('{"id"') :])
        assert (last["label"], last["inputs"], last["decision"]) == ("1", [8.0] * 64, "refer")
    said = train(tmp_path / "models", "--with-reviewed", str(tmp_path / "answers"))
    assert "reviewed: 1 labelled rows added" in said
