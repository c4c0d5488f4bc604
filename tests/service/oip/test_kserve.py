"""KServe's own client, unchanged, against a live server. What it depends on does not go with what we do, so it
runs in another Python: `KSERVE_PYTHON=…/bin/python pytest tests/service/oip/test_kserve.py`."""

import json
import os
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest

PYTHON = os.environ.get("KSERVE_PYTHON")


@pytest.mark.skipif(PYTHON is None, reason="KSERVE_PYTHON names no Python that has kserve")
def test_kserves_client(client: httpx.Client) -> None:
    script = Path(__file__).with_name("kserve_client.py")
    answers = json.loads(subprocess.check_output([str(PYTHON), str(script), str(client.base_url)]).splitlines()[-1])
    assert [answers[name] for name in ("live", "ready", "toy", "nobody")] == [True, True, True, False]
    rows = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4).tolist()
    asked = {"inputs": rows, "samples": 8, "seed": 5}
    expected = client.post("/v1/models/toy/uncertainty", json=asked).json()["predictions"]
    for answer in (answers["json"], answers["binary"]):
        assert answer["id"] == "mine"
        assert answer["label"] == [row["deterministic"]["label"] for row in expected]
        assert answer["mutual_information"] == [row["mutual_information"] for row in expected]
        probabilities = np.array([row["deterministic"]["probabilities"] for row in expected])
        np.testing.assert_array_equal(np.float32(answer["probabilities"]), np.float32(probabilities))
