"""Publish a new version each second under load, some of them damaged: every answer is that of a whole version."""

import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import numpy as np
import orjson

from tests.conftest import wait_until
from tests.service.processes import worker_pids
from tests.toy import Floats, ToyNet
from tools.soak.canary import ROWS
from tools.soak.damage import DAMAGES
from tools.soak.memory import FLAT, growth, is_flat, over_time, watched
from tools.soak.overload import canary_service
from tools.soak.report import Report
from tools.soak.traffic import Case, traffic

RATE = 100.0
DIGEST = re.compile(r"[0-9a-f]{64}")
KEPT = 3
"""The number of versions kept."""
PERIOD = 1.0

Answers = dict[int, Floats]
"""Probabilities of ROWS by version. Damaged versions have none, as they must not answer."""


@dataclass
class Tried:
    """Results of one kind of damage."""

    damage: str
    tried: int = 0
    refused: int = 0
    reason: str = ""
    """The last reason."""

    def note(self, reason: str) -> None:
        """Record a version; an empty reason means that it serves."""
        self.tried += 1
        self.refused += bool(reason)
        self.reason = DIGEST.sub("…", reason[reason.rfind("/") + 1 :])


def swaps(folder: Path, seconds: float, every: int = 10) -> Report:
    """Publish for so long; every tenth version, or as set, is damaged, in each way in turn."""
    expected: Answers = {}
    kinds = cycle(DAMAGES)
    tried = {kind: Tried(kind) for kind in DAMAGES}
    delays: list[float] = []
    with canary_service(folder) as (running, url, canary):
        models = folder / "models"
        _publish(models, 1, expected)
        wait_until(lambda: _state(running.client, 1) == "ready")
        changing = _question("/v1/models/toy/predict", expected)
        with watched(lambda: worker_pids(running)) as samples, traffic(url, [changing, *canary], RATE) as outcomes:
            for version in range(2, 2 + round(seconds / PERIOD)):
                began = monotonic()
                if version % every == 0:
                    kind = next(kinds)
                    _publish(models, version, expected, damage=DAMAGES[kind])
                    tried[kind].note(_refusal(running.client, version))
                else:
                    _publish(models, version, expected)
                    published = monotonic()
                    wait_until(lambda version=version: _state(running.client, version) == "ready")  # type: ignore[misc]
                    delays.append(monotonic() - published)
                shutil.rmtree(models / "toy" / str(version - KEPT), ignore_errors=True)
                sleep(max(0.0, began + PERIOD - monotonic()))
    memory = growth(samples)
    damaged = sum(each.tried for each in tried.values())
    return Report(
        {
            "seconds": seconds,
            "versions": len(delays) + damaged,
            "damaged": damaged,
            "requests": len(outcomes),
            "ends": outcomes.table(),
            "wrong": outcomes.wrong,
            "damages": [asdict(each) for each in tried.values()],
            "serves_after_s": {"median": float(np.median(delays)), "max": max(delays)},
            **outcomes.latencies(),
            "memory": memory,
            "over_time": {"requests": outcomes.over_time(), "memory": over_time(samples)},
        },
        {
            "every request is answered, or refused by rule": outcomes.unruly == 0,
            "every answer is that of a whole version, the canary's to the byte": outcomes.wrong == 0,
            "every damaged version is refused, with the reason": damaged
            == sum(each.refused for each in tried.values()),
            "some version was damaged": damaged > 0,
        },
        {
            "a new version serves within a second": max(delays) < 1.0,
            FLAT: is_flat(memory),
        },
    )


def _publish(models: Path, version: int, expected: Answers, damage: Callable[[Path], None] | None = None) -> None:
    """Publish by one rename, as `training.publish.publish` does; the answer is known before."""
    net, staging = ToyNet(seed=version), models / ".publish-reliability"
    folder = net.publish(staging, version=version)
    if damage:
        damage(folder)
    else:
        rows = np.array(ROWS, dtype=np.float32)
        expected[version] = net.engine().predict({"input": rows}).values.astype(np.float32)
    (models / "toy").mkdir(exist_ok=True)
    folder.rename(models / "toy" / str(version))
    shutil.rmtree(staging)


def _question(path: str, expected: Answers) -> Case:
    def right(content: bytes) -> bool:
        reply = orjson.loads(content)
        given = [row["probabilities"] for row in reply["predictions"]]
        return reply["version"] in expected and np.allclose(given, expected[reply["version"]], atol=1e-5)

    return Case("predict, newest", path, orjson.dumps({"inputs": ROWS}), right)


def _states(client: httpx.Client) -> dict[int, dict[str, Any]]:
    answer = client.get("/v1/models")
    models = {model["model"]: model for model in answer.json()["models"]}
    return {each["version"]: each for each in models.get("toy", {"versions": []})["versions"]}


def _state(client: httpx.Client, version: int) -> str | None:
    return _states(client).get(version, {}).get("state")


def _refusal(client: httpx.Client, version: int) -> str:
    """Return the reason of a refusal; empty for a version that serves."""
    wait_until(lambda: _states(client).get(version, {}).get("state") in ("ready", "unavailable"))
    state = _states(client)[version]
    return "" if state["state"] == "ready" else str(state["reason"])
