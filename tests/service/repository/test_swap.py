"""Versions come and go under load: no request is lost, and every answer is that of a verified version."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.model.manifest import PREDICT_GRAPH
from tests.conftest import PATIENCE, Serve, wait_until
from tests.toy import ToyNet

ROWS = [[0.3, -0.2, 1.0, 0.5]]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    ToyNet(seed=1).publish(tmp_path / "models")
    return tmp_path / "models"


def publish(models: Path, version: int, *, damaged: bool = False) -> Path:
    """By one rename, as `training.publish.publish` does."""
    staging = models / f".publish-{version}"
    folder = ToyNet(seed=version).publish(staging, version=version)
    if damaged:
        (folder / PREDICT_GRAPH).write_bytes(b"damaged")
    return folder.rename(models / "toy" / str(version))


@contextmanager
def load(client: httpx.Client, path: str = "/predict", callers: int = 4) -> Iterator[list[list[httpx.Response]]]:
    """Callers who ask without a pause; each one's answers, in order."""
    answers: list[list[httpx.Response]] = [[] for _ in range(callers)]
    stop = threading.Event()

    def ask(mine: list[httpx.Response]) -> None:
        with httpx.Client(base_url=client.base_url, timeout=PATIENCE) as caller:
            while not stop.is_set():
                mine.append(caller.post(path, json={"inputs": ROWS}))

    with ThreadPoolExecutor(callers) as pool:
        asking = [pool.submit(ask, mine) for mine in answers]
        try:
            wait_until(lambda: all(answers))
            yield answers
            counts = [len(mine) for mine in answers]
            wait_until(lambda: all(len(mine) > count + 1 for mine, count in zip(answers, counts, strict=True)))
        finally:
            stop.set()
    for future in asking:
        future.result()


def serving(client: httpx.Client) -> Any:
    return client.get("/readyz").json()["models"]["toy"]


def check(answers: list[list[httpx.Response]]) -> list[list[int]]:
    """All are good, and each is of the version that it says; the versions of each caller, in order."""
    expected = {version: ToyNet(seed=version).engine() for version in range(1, 6)}
    for answer in (answer for mine in answers for answer in mine):
        assert answer.status_code == 200, answer.text
        said = answer.json()
        values = expected[said["version"]].predict({"input": np.array(ROWS, dtype=np.float32)}).values
        np.testing.assert_allclose(said["predictions"][0]["probabilities"], values[0], atol=1e-5)
    return [[answer.json()["version"] for answer in mine] for mine in answers]


def test_new_versions_take_over_without_a_lost_request(serve: Serve, models: Path) -> None:
    with serve(models=models) as client:
        with load(client) as answers:
            publish(models, 2)
            wait_until(lambda: serving(client) == [1, 2])
            publish(models, 3, damaged=True)
            wait_until(lambda: "toy/3" in client.get("/readyz").json()["failures"])
            publish(models, 4)
            wait_until(lambda: serving(client) == [1, 2, 4])
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert "predict.onnx: is damaged" in ready.json()["failures"]["toy/3"]
    for versions in check(answers):
        assert versions == sorted(versions)
        assert set(versions) <= {1, 2, 4}
        assert (versions[0], versions[-1]) == (1, 4)


def test_a_version_that_is_removed_gives_way_without_a_lost_request(serve: Serve, models: Path) -> None:
    publish(models, 2)
    with serve(models=models) as client, load(client) as answers:
        (models / "toy" / "2").rename(models / ".trash")
        wait_until(lambda: serving(client) == [1])
    for versions in check(answers):
        assert versions == sorted(versions, reverse=True)
        assert (versions[0], versions[-1]) == (2, 1)


def test_unloading_and_loading_by_request_loses_no_request(serve: Serve, models: Path) -> None:
    publish(models, 2)
    with serve(models=models) as client, load(client) as answers:
        for _ in range(3):
            for command in ("unload", "load"):
                assert client.post(f"/v1/models/toy/versions/2/{command}").status_code == 200
    assert {version for versions in check(answers) for version in versions} == {1, 2}


def test_a_request_in_flight_finishes_on_the_version_that_it_began_with(serve: Serve, tmp_path: Path) -> None:
    """A long one, unloaded as soon as it is being worked on."""
    models = tmp_path / "models"
    ToyNet(hidden=4096).publish(models)
    with serve(models=models) as client, ThreadPoolExecutor() as pool:
        asked = {"inputs": ROWS * 100, "samples": 5_000}
        long = pool.submit(client.post, "/v1/models/toy/uncertainty", json=asked)
        wait_until(lambda: "dropserve_queue_depth 1" in client.get("/metrics").text)
        assert client.post("/v1/models/toy/unload").status_code == 200
        assert not long.done()
        assert client.post("/v1/models/toy/predict", json={"inputs": ROWS}).status_code == 503
        answer = long.result()
        assert answer.status_code == 200
        assert answer.json()["version"] == 1


def test_loading_keeps_no_prediction_waiting(serve: Serve, models: Path) -> None:
    """What is asked while a large model is being loaded is answered before that is done."""
    with serve(models=models) as client, ThreadPoolExecutor() as pool:
        staging = models / ".publish-big"
        ToyNet(hidden=200_000).publish(staging, name="big")
        (staging / "big").rename(models / "big")
        loading = pool.submit(client.post, "/v1/models/big/load")
        answered = 0
        while not loading.done():
            answer = client.post("/predict", json={"inputs": ROWS})
            assert answer.status_code == 200
            answered += not loading.done()
        assert loading.result().status_code == 200
        assert answered > 0
        assert client.get("/readyz").json()["models"] == {"big": [1], "toy": [1]}


def test_an_event_loads_a_model_without_waiting_for_the_next_poll(serve: Serve, models: Path) -> None:
    """By an event: the next look is an hour away."""
    with serve(models=models, poll_seconds=3600) as client:
        publish(models, 2)
        wait_until(lambda: serving(client) == [1, 2])


def test_without_events_the_folder_is_looked_at_from_time_to_time(serve: Serve, models: Path) -> None:
    with serve(models=models, watch=False, poll_seconds=0.05) as client:
        publish(models, 2)
        wait_until(lambda: serving(client) == [1, 2])


def test_a_folder_that_comes_later_is_found(serve: Serve, models: Path, tmp_path: Path) -> None:
    with serve(models=tmp_path / "later", poll_seconds=0.05) as client:
        assert client.get("/readyz").status_code == 503
        models.rename(tmp_path / "later")
        wait_until(lambda: client.get("/readyz").status_code == 200)


def test_servers_that_share_their_state_unload_together(serve: Serve, models: Path, tmp_path: Path) -> None:
    shared = {"models": models, "state": tmp_path / "state", "poll_seconds": 3600}
    with serve(**shared) as one, serve(**shared) as other:
        assert one.post("/v1/models/toy/unload").status_code == 200
        wait_until(lambda: other.post("/predict", json={"inputs": ROWS}).status_code == 503)
        assert other.post("/v1/models/toy/load").status_code == 200
        wait_until(lambda: one.post("/predict", json={"inputs": ROWS}).status_code == 200)
