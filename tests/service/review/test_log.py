"""The prediction log of live servers, in each kind of store."""

import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson

from service.engine.answers import Prediction
from service.model.manifest import Manifest
from service.review.log import PredictionLog
from service.review.opening import open_store
from service.review.store import Entry, Query, Store
from service.telemetry.records import Answered, Outcome, Record
from tests.conftest import Serve, wait_until
from tests.service.model.test_categories import CATEGORIES, FEATURES, Homes
from tests.service.processes import service
from tests.service.review.places import Place, Postgres
from tests.service.telemetry.test_metrics import value
from tests.toy import ToyNet

EVERYTHING = Query(decision="any", state="all", limit=1000)


def stored(place: Place | Postgres) -> list[Entry]:
    return sorted(open_store(place.where).select(EVERYTHING), key=lambda entry: entry.row.id)


def logged(client: httpx.Client, fate: str) -> float:
    return value(client, "dropserve_logged_rows_total", fate=fate)


def ask(client: httpx.Client, rows: Any, path: str = "/predict", **headers: str) -> httpx.Response:
    response = client.post(path, json={"inputs": rows}, headers=headers)
    assert response.status_code == 200
    return response


def test_all_that_was_answered_is_kept(serve: Serve, models: Path, place: Place | Postgres, toy: ToyNet) -> None:
    rows = toy.rows(3).tolist()
    tensor = {"name": "input", "shape": [1, 4], "datatype": "FP32", "data": rows[0]}
    with serve(models=models, prediction_log=place.where, prediction_log_seconds=0.1) as client:
        predicted = ask(client, rows, **{"x-request-id": "mine"}).json()["predictions"]
        body = {"inputs": rows, "samples": 20, "seed": 5, "return_samples": True}
        sampled = client.post("/uncertainty", json=body).json()["predictions"]
        ask(client, rows[:1], "/v1/models/yield/uncertainty")
        client.post("/v2/models/toy/infer", json={"inputs": [tensor]}).raise_for_status()
        outputs = [{"name": "predictive_entropy"}]
        client.post("/v2/models/toy/infer", json={"inputs": [tensor], "outputs": outputs}).raise_for_status()
        ask(client, rows, **{"dropserve-exploratory": "1"})
        assert client.post("/predict", json={"inputs": [[1]]}).status_code == 422
        wait_until(lambda: logged(client, "written") == 9)
        assert logged(client, "dropped") == 0
    found = [entry.row for entry in stored(place)]
    assert [row.route for row in found] == ["/predict"] * 3 + ["/uncertainty"] * 4 + ["/v2/infer"] * 2
    assert [row.row for row in found] == [0, 1, 2, 0, 1, 2, 0, 0, 0]
    assert {row.request_id for row in found[:3]} == {"mine"}
    for row, sent, answer in zip(found[:3], rows, predicted, strict=True):
        assert np.array_equal(np.float32(orjson.loads(row.inputs or "")), np.float32(sent))
        assert orjson.loads(row.answer) == answer
        assert (row.model, row.version, row.samples, row.seed, row.decision) == ("toy", 1, 0, None, None)
        assert abs(row.time - time.time()) < 60
    for row, answer in zip(found[3:6], sampled, strict=True):
        kept = {key: said for key, said in answer.items() if key not in ("sampled", "decision")}
        assert orjson.loads(row.answer) == kept
        assert (row.samples, row.seed) == (20, 5)
        assert row.predictive_entropy == answer["predictive_entropy"]
        assert row.mutual_information == answer["mutual_information"]
        assert row.decision == answer["decision"]
    assert "refer" in {row.decision for row in found[3:6]}
    assert (found[6].model, found[6].predictive_entropy, found[6].decision) == ("yield", None, None)
    assert [row.samples for row in found[7:]] == [0, 100]


def test_counters_start_at_0(serve: Serve, models: Path, tmp_path: Path) -> None:
    with serve(models=models, prediction_log=str(tmp_path / "log")) as client:
        shown = client.get("/metrics").text.splitlines()
    assert 'dropserve_logged_rows_total{fate="dropped"} 0.0' in shown
    assert "dropserve_log_failures_total 0.0" in shown


def test_an_unreachable_store_affects_no_request(
    serve: Serve, models: Path, place: Place | Postgres, toy: ToyNet
) -> None:
    rows = toy.rows(2).tolist()
    with serve(models=models, prediction_log=place.where, prediction_log_seconds=0.05) as client:
        ask(client, rows)
        wait_until(lambda: logged(client, "written") == 2)
        place.go_away()
        try:
            for _ in range(5):
                ask(client, rows)
            wait_until(lambda: value(client, "dropserve_log_failures_total") >= 2)
            refused = client.get("/v1/review")
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "store_away"
        finally:
            place.come_back()
        wait_until(lambda: logged(client, "written") == 12)
        assert logged(client, "dropped") == 0
        assert client.get("/v1/review").status_code == 200
    assert len(stored(place)) == 12


def test_a_store_that_is_away_at_the_start_is_waited_for(
    serve: Serve, models: Path, place: Place | Postgres, toy: ToyNet
) -> None:
    place.go_away()
    try:
        with serve(models=models, prediction_log=place.where, prediction_log_seconds=0.05) as client:
            ask(client, toy.rows(2).tolist())
            wait_until(lambda: value(client, "dropserve_log_failures_total") >= 1)
            place.come_back()
            wait_until(lambda: logged(client, "written") == 2)
    finally:
        if isinstance(place, Postgres) and place.process and place.process.poll() is not None:
            place.come_back()


def test_what_the_queue_has_no_room_for_is_dropped_and_counted(serve: Serve, models: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"prediction_log": tmp_path / "log", "prediction_log_seconds": 1000}
    with serve(models=models, prediction_log_queue_bytes=50_000, **settings) as client:
        (tmp_path / "log").rename(tmp_path / "elsewhere")
        (tmp_path / "log").touch()  # so that nothing leaves the queue
        for _ in range(100):
            ask(client, [[0.5] * 4])
        wait_until(lambda: logged(client, "dropped") > 0)
        dropped = logged(client, "dropped")
        assert 0 < dropped < 100
        (tmp_path / "log").unlink()
        (tmp_path / "elsewhere").rename(tmp_path / "log")
        wait_until(lambda: logged(client, "written") > 0)
    rows = open_store(tmp_path / "log").select(EVERYTHING)
    assert len(rows) == 100 - dropped  # and what was not dropped is there


def test_all_is_written_before_the_end(serve: Serve, models: Path, place: Place | Postgres, toy: ToyNet) -> None:
    with serve(models=models, prediction_log=place.where, prediction_log_seconds=1000) as client:
        ask(client, toy.rows(7).tolist())
        assert logged(client, "written") == 0
    assert len(stored(place)) == 7


def an_answer(manifest: Manifest, rows: int) -> Record:
    record = Record("POST", "/predict", {})
    record.manifest, record.status, record.route = manifest, 200, "/predict"
    values = np.full((rows, 3), 1 / 3)
    answered = Answered({"input": np.zeros((rows, 4), np.float32)}, Prediction(values))
    record.outcome = Outcome(rows, answered=lambda: answered)
    return record


def start(store: Store, **options: Any) -> tuple[PredictionLog, dict[str, int]]:
    counted = {"written": 0, "dropped": 0, "failed": 0}
    log = PredictionLog(store, **{"seconds": 0.05, "max_bytes": 2**20, **options})
    log.start(lambda fate, by: counted.update({fate: counted[fate] + by}))
    return log, counted


def test_the_end_is_not_put_off_by_a_store_that_is_away(manifest: Manifest, place: Place | Postgres) -> None:
    log, counted = start(open_store(place.where))
    place.go_away()
    try:
        log.take(an_answer(manifest, 3))
        wait_until(lambda: counted["failed"] > 0)
        began = time.monotonic()
        log.close(0.5)
        assert time.monotonic() - began < 20
        assert (counted["written"], counted["dropped"]) == (0, 3)
    finally:
        place.come_back()


def test_what_cannot_be_kept_does_not_end_the_log(manifest: Manifest, tmp_path: Path) -> None:
    log, counted = start(open_store(tmp_path / "log"))
    broken = an_answer(manifest, 2)
    assert broken.outcome
    assert broken.outcome.answered
    values = np.zeros((2, 99))  # of more classes than the model has names for
    values[:, 98] = 1
    answered = broken.outcome.answered()._replace(prediction=Prediction(values))
    broken.outcome.answered = lambda: answered
    log.take(broken)
    wait_until(lambda: counted["dropped"] == 2)
    log.take(an_answer(manifest, 3))
    wait_until(lambda: counted["written"] == 3)
    log.close(5)


def test_inputs_are_kept_only_where_they_may_be(serve: Serve, models: Path, tmp_path: Path, toy: ToyNet) -> None:
    where = tmp_path / "log"
    settings: dict[str, Any] = {"prediction_log": where, "prediction_log_inputs": False}
    with serve(models=models, prediction_log_seconds=0.1, **settings) as client:
        ask(client, toy.rows(2).tolist(), "/uncertainty")
        wait_until(lambda: logged(client, "written") == 2)
        listed = client.get("/v1/review", params={"decision": "any"}).json()["rows"]
        assert [row["inputs"] for row in listed] == [None, None]
    assert b"inputs" in next(where.rglob("*.parquet")).read_bytes()  # the column, in which there is nothing
    assert all(entry.row.inputs is None for entry in open_store(where).select(EVERYTHING))


def test_rows_are_forgotten_when_their_time_is_over(serve: Serve, models: Path, tmp_path: Path) -> None:
    where = f"sqlite:///{tmp_path}/log.db"
    with serve(models=models, prediction_log=where, prediction_log_seconds=0.1) as client:
        ask(client, [[0.5] * 4])
        wait_until(lambda: logged(client, "written") == 1)
    settings: dict[str, Any] = {"prediction_log": where, "prediction_log_days": 1e-6}
    with serve(models=models, prediction_log_seconds=0.1, **settings):
        wait_until(lambda: not open_store(where).select(EVERYTHING))


def test_workers_share_a_store(tmp_path: Path, models: Path, place: Place | Postgres) -> None:
    options = ("--workers", "2", "--models", str(models))
    environment = {"DROPSERVE_PREDICTION_LOG": place.where, "DROPSERVE_PREDICTION_LOG_SECONDS": "0.2"}
    open_store(place.where).prepare()  # so that it can be looked into before a worker has been
    with service(tmp_path, *options, **environment) as running:

        def anew(method: str, path: str, **asked: Any) -> Any:
            """By a connection of its own, so that any worker may answer."""
            with httpx.Client(base_url=running.client.base_url) as client:
                return client.request(method, path, **asked).raise_for_status().json()

        asked = 0

        def both_have_written() -> bool:
            nonlocal asked
            anew("POST", "/uncertainty", json={"inputs": [[0.0] * 4], "samples": 10})
            asked += 1
            return len({entry.row.id[:16] for entry in stored(place)}) == 2

        wait_until(both_have_written)  # whichever the connections come to
        listed = "/v1/review?decision=any&limit=1000"
        wait_until(lambda: len(anew("GET", listed)["rows"]) == asked)
        for entry in stored(place):
            anew("POST", f"/v1/review/{entry.row.id}", json={"label": "b"})
        for _ in range(5):
            assert anew("GET", listed)["rows"] == []
            assert len(anew("GET", f"{listed}&state=labelled")["rows"]) == asked
        assert running.stop() == 0


def test_categories_are_kept_by_name(serve: Serve, tmp_path: Path) -> None:
    Homes().publish(tmp_path / "models", features=FEATURES, categories=CATEGORIES)
    where = tmp_path / "log"
    sent = [[63.5, "Rome", 2.0, "true"]]
    with serve(models=tmp_path / "models", prediction_log=where, prediction_log_seconds=0.1) as client:
        ask(client, sent)
        wait_until(lambda: logged(client, "written") == 1)
        listed = client.get("/v1/review", params={"decision": "any"}).json()["rows"]
        assert [row["inputs"] for row in listed] == sent
