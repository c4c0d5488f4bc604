"""The requests of a trial, and their answers, known to the byte."""

from pathlib import Path

import httpx
import orjson

from tests.toy import ToyNet
from tools.soak.traffic import Case, exactly

WIDTH = 2048
CANARY = "canary"
ROWS = ToyNet().rows(8).tolist()
FLAT = [value for row in ROWS for value in row]

CASES = {
    "predict": (f"/v1/models/{CANARY}/predict", {"inputs": ROWS}),
    "uncertainty": (f"/v1/models/{CANARY}/uncertainty", {"inputs": ROWS, "samples": 500, "seed": 7}),
    "v2": (
        f"/v2/models/{CANARY}/infer",
        {"inputs": [{"name": "input", "datatype": "FP32", "shape": [8, 4], "data": FLAT}]},
    ),
}
"""Path and body by name. The seed is fixed, so that each answer has the same bytes."""


def publish_canary(models: Path) -> Path:
    """Publish a wide network with a slow ensemble, which stays unchanged."""
    ToyNet(seed=3, hidden=WIDTH).publish(models, name=CANARY)
    return models


def learn_answers(client: httpx.Client) -> list[Case]:
    """Return all cases with their answers, before any fault."""
    return [learn(client, name) for name in CASES]


def learn(client: httpx.Client, name: str) -> Case:
    """Return one case with its answer."""
    path, body = CASES[name]
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return Case(name, path, orjson.dumps(body), exactly(answer.content))
