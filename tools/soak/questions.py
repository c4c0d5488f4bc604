"""What is asked of the service while things go wrong, and the answers, known to the byte."""

from pathlib import Path

import httpx
import orjson

from tests.toy import ToyNet
from tools.soak.traffic import Question, exactly

WIDTH = 2048
CANARY = "canary"
ROWS = ToyNet().rows(8).tolist()
FLAT = [value for row in ROWS for value in row]

ASKED = {
    "predict": (f"/v1/models/{CANARY}/predict", {"inputs": ROWS}),
    "uncertainty": (f"/v1/models/{CANARY}/uncertainty", {"inputs": ROWS, "samples": 500, "seed": 7}),
    "v2": (
        f"/v2/models/{CANARY}/infer",
        {"inputs": [{"name": "input", "datatype": "FP32", "shape": [8, 4], "data": FLAT}]},
    ),
}
"""By name: path and body. The seed is fixed, so that each answer must be the same bytes whatever goes on."""


def publish_canary(models: Path) -> Path:
    """A network wide enough that the ensemble's answer is long work; it stays as it is all along."""
    ToyNet(seed=3, hidden=WIDTH).publish(models, name=CANARY)
    return models


def learn_answers(client: httpx.Client) -> list[Question]:
    """Ask each once, in peace."""
    return [learn(client, name) for name in ASKED]


def learn(client: httpx.Client, name: str) -> Question:
    """One of them, with its answer."""
    path, body = ASKED[name]
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return Question(name, path, orjson.dumps(body), exactly(answer.content))
