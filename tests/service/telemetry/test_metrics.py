"""What is counted, as Prometheus' own parser reads it from a live server; and the sums that it is made of."""

import math
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.engine.stages import STAGES, Stopwatch
from service.telemetry.exposition import GONE_KEPT
from service.telemetry.metrics import ENTROPY, REQUEST_SECONDS, REQUESTS, STAGE, Metrics, Numbers, add_up, keep_counted
from service.telemetry.records import Outcome, Record
from tests.conftest import Serve, wait_until
from tests.toy import ToyNet

MANIFEST = ToyNet().manifest()
ABSTENTION = ({"error_rate": 0.05, "threshold": 0.9, "coverage": 0.8},)


def scrape(client: httpx.Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample by name and labels."""
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def value(client: httpx.Client, name: str, **labels: str) -> float:
    """Of one sample; 0 where there is none yet."""
    return scrape(client).get((name, frozenset(labels.items())), 0.0)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy that decides, and a regression."""
    models = tmp_path_factory.mktemp("models")
    ToyNet().publish(models, abstention=ABSTENTION)
    ToyNet(seed=2, outputs=1).publish(models, name="yield", task="regression", labels=(), noise={"std": 0.3})
    return models


@pytest.fixture
def fresh(serve: Serve, models: Path) -> Iterator[httpx.Client]:
    """Of a server that has counted nothing of models yet."""
    with serve(models=models) as client:
        yield client


def test_requests_are_counted_by_route_model_and_status(fresh: httpx.Client, toy: ToyNet) -> None:
    rows = toy.rows(3).tolist()
    for path in ("/predict", "/v1/models/toy/predict", "/v1/models/toy/versions/1/predict"):
        assert fresh.post(path, json={"inputs": rows}).status_code == 200
    fresh.post("/predict", json={"inputs": [[1]]})
    fresh.post("/v1/models/yield/uncertainty", json={"inputs": rows})
    fresh.post("/v1/models/nobody/predict", json={"inputs": rows})
    toys = {"route": "/predict", "model": "toy", "version": "1"}
    assert value(fresh, "dropserve_requests_total", **toys, status="200") == 3
    assert value(fresh, "dropserve_requests_total", **toys, status="422") == 1
    regression = {"route": "/uncertainty", "model": "yield", "version": "1"}
    assert value(fresh, "dropserve_requests_total", **regression, status="200") == 1
    unknown = {"route": "/predict", "model": "", "version": ""}
    assert value(fresh, "dropserve_requests_total", **unknown, status="404") == 1
    assert value(fresh, "dropserve_request_seconds_count", **toys) == 4
    assert value(fresh, "dropserve_request_rows_sum", **toys) == 9
    assert value(fresh, "dropserve_request_rows_bucket", **toys, le="2.0") == 0
    assert value(fresh, "dropserve_request_rows_bucket", **toys, le="5.0") == 3


def test_a_request_takes_as_long_as_its_stages(fresh: httpx.Client, toy: ToyNet) -> None:
    fresh.post("/uncertainty", json={"inputs": toy.rows(50).tolist(), "samples": 500})
    stages = {stage: value(fresh, "dropserve_stage_seconds_sum", route="/uncertainty", stage=stage) for stage in STAGES}
    assert all(seconds > 0 for seconds in stages.values()), stages
    total = value(fresh, "dropserve_request_seconds_sum", route="/uncertainty", model="toy", version="1")
    assert sum(stages.values()) <= total


def test_the_answers_themselves_are_counted(fresh: httpx.Client, toy: ToyNet) -> None:
    reply = fresh.post("/uncertainty", json={"inputs": toy.rows(40).tolist()}).json()["predictions"]
    model = {"model": "toy", "version": "1"}
    for name in ("predictive_entropy", "mutual_information"):
        shown = [row[name] for row in reply]
        assert value(fresh, f"dropserve_{name}_count", **model) == 40
        assert value(fresh, f"dropserve_{name}_sum", **model) == pytest.approx(sum(shown))
        assert value(fresh, f"dropserve_{name}_bucket", **model, le="0.1") == sum(x <= 0.1 for x in shown)
    referred = sum(row["decision"] == "refer" for row in reply)
    assert 0 < referred < 40
    assert value(fresh, "dropserve_decisions_total", **model, decision="refer") == referred
    assert value(fresh, "dropserve_decisions_total", **model, decision="accept") == 40 - referred


def test_what_is_only_tried_out_is_a_request_but_no_data(fresh: httpx.Client, toy: ToyNet) -> None:
    rows, model = toy.rows(7).tolist(), {"model": "toy", "version": "1"}
    shown = [fresh.post("/uncertainty", json={"inputs": rows}).content]
    before = scrape(fresh)
    shown.append(fresh.post("/uncertainty", json={"inputs": rows}, headers={"Dropserve-Exploratory": "1"}).content)
    after = scrape(fresh)
    assert shown[0] == shown[1]
    data = ("dropserve_predictive_entropy", "dropserve_mutual_information", "dropserve_decisions")
    counted = {
        key: number for key, number in after.items() if key[0].startswith(data) and not key[0].endswith("created")
    }
    assert counted.items() <= before.items()
    assert value(fresh, "dropserve_predictive_entropy_count", **model) == 7
    assert value(fresh, "dropserve_exploratory_rows_total", **model) == 7
    assert value(fresh, "dropserve_requests_total", route="/uncertainty", status="200", **model) == 2
    fresh.post("/uncertainty", json={"inputs": rows}, headers={"Dropserve-Exploratory": "0"})
    assert value(fresh, "dropserve_predictive_entropy_count", **model) == 14


def test_labels_are_never_what_a_caller_wrote(fresh: httpx.Client) -> None:
    before = len(scrape(fresh))
    for nonsense in (
        "/zzz",
        "/v1/models/zzz/predict",
        "/v1/models/zzz",
        "/v2/models/zzz/infer",
        "/v2/zzz",
        "/zzz/load",
    ):
        for method in ("GET", "POST"):
            fresh.request(method, nonsense)
    fresh.get("/metrics", headers={"user-agent": "zzz", "x-request-id": "zzz"})
    assert "zzz" not in fresh.get("/metrics").text
    grown = len(scrape(fresh))
    for number in range(50):
        fresh.get(f"/zzz/{number}")
        fresh.post(f"/v1/models/zzz{number}/predict")
        fresh.get(f"/v1/models/zzz{number}")
    assert len(scrape(fresh)) == grown > before


def test_loaded_and_refused_versions(serve: Serve, tmp_path: Path, toy: ToyNet) -> None:
    toy.publish(tmp_path)
    damaged = toy.publish(tmp_path, version=2)
    (damaged / "predict.onnx").write_bytes(b"damaged")
    with serve(models=tmp_path) as client:
        found = scrape(client)
        of = {version: frozenset({("model", "toy"), ("version", version)}) for version in ("1", "2")}
        assert found["dropserve_model_loaded", of["1"]] == 1
        assert ("dropserve_model_loaded", of["2"]) not in found
        assert found["dropserve_model_refused", of["2"]] == 1


def test_numbers_of_versions_long_gone_are_forgotten(serve: Serve, tmp_path: Path, toy: ToyNet) -> None:
    versions = range(1, GONE_KEPT + 4)
    for version in versions:
        toy.publish(tmp_path, version=version)
    with serve(models=tmp_path) as client:

        def counted() -> list[int]:
            asked = {"route": "/uncertainty", "model": "toy", "status": "200"}
            samples = [value(client, "dropserve_requests_total", **asked, version=str(each)) for each in versions]
            return [version for version, number in zip(versions, samples, strict=True) if number]

        def ask(version: int) -> int:
            path = f"/v1/models/toy/versions/{version}/uncertainty"
            return client.post(path, json={"inputs": toy.rows(1).tolist()}).status_code

        assert {ask(version) for version in versions} == {200}
        assert counted() == [*versions]
        for version in versions[1:]:
            shutil.rmtree(tmp_path / "toy" / str(version))
        wait_until(lambda: ask(versions[-1]) == 404)
        assert counted() == [1, *versions[-GONE_KEPT:]]
        assert {ask(1), ask(1)} == {200}
        assert value(client, "dropserve_request_rows_sum", route="/uncertainty", model="toy", version="1") == 3


def test_the_process_is_described(client: httpx.Client) -> None:
    assert value(client, "process_resident_memory_bytes", worker="0") > 2**20
    assert value(client, "process_cpu_seconds_total", worker="0") > 0
    assert value(client, "dropserve_workers") == 1
    assert "python_info{" in client.get("/metrics").text


def test_openmetrics_is_returned_on_request(client: httpx.Client) -> None:
    response = client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")


# the sums


def test_values_fall_into_buckets_whose_upper_bounds_belong_to_them() -> None:
    values = np.random.default_rng(0).gamma(0.5, size=1000)
    values[:3] = (0.0, ENTROPY.bounds[2], 1e9)
    metrics = Metrics()
    metrics.observe(ENTROPY, ("toy", "1"), values)
    (numbers,) = metrics.numbers.values()
    edges = [-math.inf, *ENTROPY.bounds, math.inf]
    inside = [((values > low) & (values <= high)).sum() for low, high in pairwise(edges)]
    assert numbers[:-1] == inside
    assert numbers[-1] == pytest.approx(values.sum())


def test_requests_counted_together_are_counted_as_one_by_one() -> None:
    """Of two routes and statuses, with a stopwatch shared by some, with and without samples and decisions."""
    records = [_ended(number) for number in range(40)]
    shared = Stopwatch()
    shared.seconds = {"parse": 0.25, "run": 0.5}
    for record in records[:10]:
        record.watch = shared
    together, one_by_one = Metrics(), Metrics()
    together.count_records(records)
    for record in records:
        one_by_one.count_records([record])
    assert together.numbers.keys() == one_by_one.numbers.keys()
    for key, numbers in one_by_one.numbers.items():
        if key[0] == REQUEST_SECONDS.name:  # their durations end at different times
            assert sum(together.numbers[key][:-1]) == sum(numbers[:-1])
        else:
            assert together.numbers[key] == pytest.approx(numbers)
    answered = sum(record.outcome is not None for record in records[:10])
    assert sum(numbers[-1] for key, numbers in together.numbers.items() if key[2:] == ("run",)) == answered / 2
    assert sum(numbers[0] for key, numbers in together.numbers.items() if key[0] == REQUESTS.name) == 40


def _ended(number: int) -> Record:
    record = Record("POST", "/", {b"dropserve-exploratory": b"1"} if number % 7 == 3 else {})
    record.route = "/predict" if number % 3 == 1 else "/v2/infer"
    record.status = 422 if number % 5 == 0 else 200
    record.manifest = MANIFEST if number % 4 else None
    entropies = np.full(number % 3 + 1, number / 50)
    if record.status == 200:
        sampled = Outcome(len(entropies), 20, 1, entropies, entropies / 2, number % 2 or None)
        record.outcome = sampled if number % 3 == 0 else Outcome(number + 1)
    return record


def test_workers_add_up_and_only_counters_outlive_them() -> None:
    stage = (STAGE.name, "/predict", "run")
    one: Numbers = {stage: [1.0, 2.0], ("dropserve_queue_depth",): [3.0]}
    other: Numbers = {stage: [10.0, 20.0], (STAGE.name, "/predict", "parse"): [5.0]}
    assert add_up([one, other]) == {
        stage: [11.0, 22.0],
        ("dropserve_queue_depth",): [3.0],
        (STAGE.name, "/predict", "parse"): [5.0],
    }
    assert one[stage] == [1.0, 2.0]
    assert keep_counted(one) == {stage: [1.0, 2.0]}
