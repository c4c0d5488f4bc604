"""A regression whose network tells the noise of each row: the same arithmetic from the engine to both protocols."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.api import schemas
from service.api.replies import answer_columns, encode_prediction, encode_uncertainty
from service.bulk.scoring import to_csv
from service.engine.decisions import half_widths
from service.engine.engine import Engine
from service.engine.inputs import Inputs
from service.engine.masks import draw_masks
from service.engine.sampling import Sampling, StopRule
from service.engine.uncertainty import RegressionUncertainty, summarise_regression
from service.errors import InvalidModel
from service.loading import golden
from service.loading.warmup import warm_up
from service.model.manifest import ConformalQuantile, LearnedNoise, Noise, read_manifest
from service.model.runtime import Array
from tests.conftest import Serve
from tests.toy import HIDDEN, Floats, P, ToyNet

SCALE = 1.5
OUTPUTS = 2
SAYS: dict[str, Any] = {
    "name": "yield",
    "task": "regression",
    "labels": (),
    "noise": {"learned": True, "scale": SCALE},
    "conformal": ({"coverage": 0.9, "quantile": 2.0},),
}


@pytest.fixture(scope="module")
def net() -> ToyNet:
    """Two answers and the noise of each, which the bias lifts above 0."""
    net = ToyNet(seed=2, outputs=2 * OUTPUTS)
    net.b1[OUTPUTS:] += 12
    return net


@pytest.fixture(scope="module")
def engine(net: ToyNet) -> Engine:
    return net.engine(**SAYS)


@pytest.fixture(scope="module")
def rows(net: ToyNet) -> Floats:
    return net.rows(5)


@pytest.fixture
def noisy(net: ToyNet, tmp_path: Path, serve: Serve) -> Iterator[httpx.Client]:
    """Of a server of the model."""
    net.publish(tmp_path, **SAYS)
    with serve(models=tmp_path) as client:
        yield client


def test_the_answers_are_half_of_the_outputs(engine: Engine, net: ToyNet, rows: Floats) -> None:
    assert engine.manifest.answers == OUTPUTS
    prediction = engine.predict({"input": rows})
    expected = net.predict(rows)
    np.testing.assert_allclose(prediction.values, expected[:, :OUTPUTS], atol=1e-5)
    assert prediction.noise_std is not None
    np.testing.assert_allclose(prediction.noise_std, SCALE * expected[:, OUTPUTS:], rtol=1e-5)


def test_the_law_of_total_variance(engine: Engine, net: ToyNet, rows: Floats) -> None:
    found = engine.sample({"input": rows}, Sampling(64, 2)).uncertainty
    samples = net.sample(rows, draw_masks(2, 0, P, (HIDDEN,), 0, 64)).astype(np.float64)
    means, noise = samples[..., :OUTPUTS], SCALE * samples[..., OUTPUTS:]
    assert isinstance(found, RegressionUncertainty)
    np.testing.assert_allclose(found.mean, means.mean(0), atol=1e-5)
    np.testing.assert_allclose(found.epistemic_std, means.std(0), atol=1e-5)
    np.testing.assert_allclose(found.aleatoric_std, np.sqrt(np.square(noise).mean(0)), rtol=1e-5)
    np.testing.assert_allclose(found.total_std**2, means.var(0) + np.square(noise).mean(0), rtol=1e-5)
    assert np.ptp(found.aleatoric_std, axis=0).min() > 0.1  # each row its own


def test_it_is_the_variance_of_the_mixture_of_the_passes() -> None:
    rng = np.random.default_rng(5)
    means, noise = rng.normal(size=(4, 1, 1)), rng.uniform(0.5, 2, size=(4, 1, 1))
    drawn = rng.normal(means, noise, size=(4, 100_000, 1))
    found = summarise_regression(means, noise)
    assert found.total_std.item() == pytest.approx(drawn.std(), rel=0.01)


def test_quantiles_samples_and_stopping_are_of_the_answers(engine: Engine, net: ToyNet, rows: Floats) -> None:
    sampled = engine.sample({"input": rows}, Sampling(32, 2, quantiles=(0.5,), keep_samples=True))
    samples = net.sample(rows, draw_masks(2, 0, P, (HIDDEN,), 0, 32))[..., :OUTPUTS]
    assert sampled.values[0].shape == (32, OUTPUTS)
    np.testing.assert_allclose(np.stack(sampled.values, axis=1), samples, atol=1e-5)
    np.testing.assert_allclose(sampled.quantiles[:, 0], np.median(samples, axis=0), atol=1e-5)


def test_rows_stop_by_their_answers_alone(engine: Engine, net: ToyNet, rows: Floats) -> None:
    adaptive = Sampling(500, 2, stop=StopRule(tolerance=0.05))
    stopped = engine.sample({"input": rows}, adaptive)
    halves = []
    for outputs in (slice(OUTPUTS), slice(OUTPUTS, None)):
        half = ToyNet(seed=2, outputs=2 * OUTPUTS)
        half.outputs, half.w1, half.b1 = OUTPUTS, net.w1[:, outputs], net.b1[outputs]
        halves.append(half.engine(task="regression", labels=()).sample({"input": rows}, adaptive))
    answers, noise = halves
    assert stopped.passes.tolist() == answers.passes.tolist()
    assert (noise.passes > answers.passes).any()  # so that it would show


def test_a_deterministic_pass_has_its_noise(net: ToyNet, rows: Floats) -> None:
    warm = net.engine(**SAYS)
    warm.learned = warm_up(warm)
    apart, together = (
        each.sample({"input": rows}, Sampling(20, 2)).deterministic for each in (net.engine(**SAYS), warm)
    )
    assert apart.noise_std is not None
    assert together.noise_std is not None
    np.testing.assert_allclose(apart.noise_std, together.noise_std, rtol=1e-6)
    some = together.take(slice(1, 3))
    assert some.noise_std is not None
    np.testing.assert_array_equal(some.noise_std, together.noise_std[1:3])


def test_noise_that_depends_on_batch_mates_is_found_out(net: ToyNet) -> None:
    noisy = net.engine(**SAYS)
    noisy.examples = {"input": net.rows(8)}
    assert warm_up(noisy).rows_are_independent
    run = noisy._network._predict.run

    def run_otherwise_alone(feeds: Inputs) -> Array:
        found = run(feeds)
        found[:, OUTPUTS:] += np.float32(1e-5 if len(found) == 1 else 0)
        return found

    noisy._network._predict.run = run_otherwise_alone  # type: ignore[method-assign]
    assert not warm_up(noisy).rows_are_independent


def test_intervals_are_as_wide_as_the_row_deserves(engine: Engine, rows: Floats) -> None:
    prediction = engine.predict({"input": rows})
    assert prediction.noise_std is not None
    quantile = ConformalQuantile(coverage=0.9, quantile=2.0)
    np.testing.assert_array_equal(
        half_widths(prediction.values, prediction.noise_std, quantile), 2 * prediction.noise_std
    )
    [row, *_] = json.loads(encode_prediction(engine.manifest, prediction, coverage=0.9))["predictions"]
    for value, noise, (low, high) in zip(row["values"], row["noise_std"], row["interval"], strict=True):
        assert (low, high) == pytest.approx((value - 2 * noise, value + 2 * noise), rel=1e-6)


def test_replies_are_as_described(engine: Engine, rows: Floats) -> None:
    said = encode_prediction(engine.manifest, engine.predict({"input": rows}), coverage=0.9)
    schemas.PredictReply.model_validate_json(said, strict=True)
    assert list(json.loads(said)["predictions"][0]) == ["values", "noise_std", "interval"]
    sampled = engine.sample({"input": rows}, Sampling(8, 0))
    shown = encode_uncertainty(engine.manifest, Sampling(8, 0), sampled)
    schemas.UncertaintyReply.model_validate_json(shown, strict=True)
    assert len(json.loads(shown)["predictions"][0]["deterministic"]["noise_std"]) == OUTPUTS


def test_a_table_of_one_answer_has_its_noise() -> None:
    net = ToyNet(outputs=2)
    net.b1[1] += 9
    engine = net.engine(task="regression", labels=(), noise={"learned": True})
    table = to_csv(answer_columns(engine.manifest, engine.predict({"input": net.rows(2)}))).decode()
    assert table.splitlines()[0] == "values,noise_std"


def test_golden_answers_hold_the_noise_too(engine: Engine, net: ToyNet, rows: Floats) -> None:
    content = golden.record(engine, {"input": rows}, passes=4, seed=1)
    assert golden.replay(engine, content) <= 1e-6
    other = net.engine(**SAYS | {"noise": {"learned": True, "scale": SCALE + 0.1}})
    with pytest.raises(InvalidModel, match="predict: the model's answers differ"):
        golden.replay(other, content)


def test_the_manifest_is_read_back(net: ToyNet, tmp_path: Path) -> None:
    manifest = read_manifest(net.publish(tmp_path, **SAYS))
    assert manifest.noise == LearnedNoise(learned=True, scale=SCALE)
    known = ToyNet(outputs=1).publish(tmp_path, name="known", task="regression", labels=(), noise={"std": 0.3})
    assert read_manifest(known).noise == Noise(std=0.3)
    assert json.loads((known / "manifest.json").read_text())["noise"] == {"std": 0.3}


def test_what_a_request_may_have_returned_counts_answers(noisy: httpx.Client, rows: Floats) -> None:
    asked = {"inputs": rows.tolist(), "samples": 10, "return_samples": True}
    [row, *_] = noisy.post("/uncertainty", json=asked).json()["predictions"]
    assert np.shape(row["sampled"]) == (10, OUTPUTS)


def test_a_server_tells_the_same_over_both_protocols(noisy: httpx.Client, engine: Engine, rows: Floats) -> None:
    sampling = Sampling(50, 7)
    expected = json.loads(encode_uncertainty(engine.manifest, sampling, engine.sample({"input": rows}, sampling), 0.9))
    shown = noisy.post("/uncertainty", json={"inputs": rows.tolist(), "samples": 50, "seed": 7, "coverage": 0.9}).json()
    for ours, theirs in zip(expected["predictions"], shown["predictions"], strict=True):
        for name in ("mean", "epistemic_std", "aleatoric_std", "total_std"):
            assert theirs[name] == pytest.approx(ours[name], rel=1e-5)
        assert theirs["deterministic"]["noise_std"] == pytest.approx(ours["deterministic"]["noise_std"], rel=1e-5)

    metadata = noisy.get("/v2/models/yield").json()
    shapes = {output["name"]: output["shape"] for output in metadata["outputs"]}
    assert (shapes["values"], shapes["noise_std"], shapes["aleatoric_std"]) == ([-1, OUTPUTS],) * 3
    assert shapes["samples"] == [-1, -1, OUTPUTS]
    tensor = {"name": "input", "shape": list(rows.shape), "datatype": "FP32", "data": rows.ravel().tolist()}
    names = ("noise_std", "aleatoric_std", "samples")
    asked = {
        "inputs": [tensor],
        "outputs": [{"name": name} for name in names],
        "parameters": {"samples": 50, "seed": 7},
    }
    answer = noisy.post("/v2/models/yield/infer", json=asked).json()
    found = {each["name"]: np.reshape(each["data"], each["shape"]) for each in answer["outputs"]}
    assert found["samples"].shape == (len(rows), 50, OUTPUTS)
    for i, row in enumerate(shown["predictions"]):
        np.testing.assert_allclose(found["aleatoric_std"][i], row["aleatoric_std"], rtol=1e-6)
        np.testing.assert_allclose(found["noise_std"][i], row["deterministic"]["noise_std"], rtol=1e-6)
    plain = noisy.post("/v2/models/yield/infer", json={"inputs": [tensor]}).json()
    assert [output["name"] for output in plain["outputs"]] == ["values", "noise_std"]


def test_the_description_has_the_learned_noise(noisy: httpx.Client) -> None:
    said = noisy.get("/v1/models/yield").json()
    schemas.ModelDetail.model_validate(said)
    assert said["noise"] == {"learned": True, "scale": SCALE}
    assert said["output"]["shape"] == [2 * OUTPUTS]
