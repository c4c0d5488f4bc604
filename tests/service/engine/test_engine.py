"""The engine against the toy's arithmetic; and what must not change an answer: batch-mates and how the work is cut."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict

import numpy as np
import pytest
from scipy import special

from service.engine import cuts
from service.engine.answers import Sampled
from service.engine.costs import Cost
from service.engine.engine import Engine, Learned
from service.engine.masks import MaskCache, draw_masks
from service.engine.network import Network
from service.engine.sampling import Ablation, Sampling, StopRule
from service.engine.uncertainty import Float64
from service.errors import InvalidInput
from service.loading.warmup import warm_up
from service.model.manifest import Manifest
from service.model.runtime import Array, Graph
from tests.jobs import NotedPauses
from tests.toy import HIDDEN, Floats, LookupNet, P, SharingNet, ToyNet

TEMPERATURE = 1.5


@pytest.fixture(scope="module")
def engine(toy: ToyNet) -> Engine:
    return toy.engine(temperature=TEMPERATURE)


@pytest.fixture(scope="module")
def rows(toy: ToyNet) -> Floats:
    return toy.rows(9)


def draw(engine: Engine, rows: Floats, passes: int, seed: int = 0) -> Floats:
    """(passes, rows, outputs)."""
    return engine.draw_all({"input": rows}, Sampling(passes, seed))


def assert_same(one: Sampled, other: Sampled, atol: float = 1e-6) -> None:
    for name, value in asdict(one.uncertainty).items():
        np.testing.assert_allclose(getattr(other.uncertainty, name), value, atol=atol, err_msg=name)
    np.testing.assert_allclose(other.deterministic.values, one.deterministic.values, atol=atol)


def test_predictions_are_the_toys_arithmetic(engine: Engine, toy: ToyNet, rows: Floats) -> None:
    expected = special.softmax(toy.predict(rows).astype(np.float64) / TEMPERATURE, axis=1)
    np.testing.assert_allclose(engine.predict({"input": rows}).values, expected, atol=1e-6)


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
def test_samples_are_the_toys_arithmetic_with_the_masks_of_the_seed(
    engine: Engine, toy: ToyNet, rows: Floats, seed: int
) -> None:
    expected = toy.sample(rows, draw_masks(seed, 0, P, (HIDDEN,), 0, 300))
    np.testing.assert_allclose(draw(engine, rows, 300, seed), expected, atol=1e-5)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(40, 3),
        Sampling(400, 3, StopRule(tolerance=0.05, confidence=0.99)),
        Sampling(40, 3, dropout_rate=0.2),
        Sampling(40, 3, ablations=(Ablation(0, (1, 2)),)),
    ],
)
def test_what_no_mask_reaches_is_computed_once_a_row(toy: ToyNet, rows: Floats, sampling: Sampling) -> None:
    engine, other = SharingNet().engine(), toy.engine()
    runs: list[int] = []
    run_all = engine._network._predict.run_all

    def counted(feeds: Mapping[str, Array]) -> list[Array]:
        runs.append(len(feeds["input"]))
        return run_all(feeds)

    engine._network._predict.run_all = counted  # type: ignore[method-assign]
    assert_same(engine.sample({"input": rows}, sampling), other.sample({"input": rows}, sampling))
    assert sum(runs) == len(rows)


def test_masks_of_ones_give_the_prediction(toy: ToyNet, rows: Floats) -> None:
    ones = np.ones((3, 1, HIDDEN), dtype=np.float32)
    sampled = Graph(toy.graph(masked=True)).run({"input": rows, "mask_0": ones})
    predicted = Graph(toy.graph(masked=False)).run({"input": rows})
    np.testing.assert_allclose(sampled, np.broadcast_to(predicted, sampled.shape), atol=1e-6)


def test_the_sample_says_what_was_asked_and_holds_the_prediction(engine: Engine, rows: Floats) -> None:
    sampled = engine.sample({"input": rows}, Sampling(20, 7))
    assert sampled.passes.tolist() == [20] * len(rows)
    assert set(sampled.stopped) == {"max"}
    np.testing.assert_array_equal(sampled.deterministic.values, engine.predict({"input": rows}).values)
    summary = engine.summarise(engine.sampled_values(draw(engine, rows, 20, 7)))
    np.testing.assert_allclose(asdict(sampled.uncertainty)["mean"], asdict(summary)["mean"], atol=1e-9)


@pytest.mark.parametrize("net", [ToyNet(), SharingNet()])
@pytest.mark.parametrize("warm", [True, False])
def test_the_prediction_beside_the_samples_is_the_prediction_to_the_bit(net: ToyNet, rows: Floats, warm: bool) -> None:
    engine = net.engine()
    engine.examples = {"input": rows} if warm else {}
    engine.learned = warm_up(engine)
    predicted = engine.predict({"input": rows}).values
    np.testing.assert_array_equal(engine.sample({"input": rows}, Sampling(20, 7)).deterministic.values, predicted)


def test_the_cost_of_samples_leaves_out_the_predictions(
    toy: ToyNet, rows: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = toy.engine()
    engine.examples = {"input": rows}
    measured = iter([Cost(1e-3, 2e-3, 256), Cost(33e-3, 5e-3, 8)])  # of predictions, and of them with 32 samples each
    monkeypatch.setattr("service.loading.warmup.measure", lambda *_: next(measured))
    learned = warm_up(engine)
    assert learned.row_cost == Cost(1e-3, 2e-3, engine.rows_per_run)
    assert learned.row_pass_cost == pytest.approx(Cost(1e-3, 3e-3, engine.row_passes_per_run))


def test_samples_that_depend_on_batch_mates_are_found_out(toy: ToyNet, rows: Floats) -> None:
    engine = toy.engine()
    engine.examples = {"input": rows}
    run = engine._network._sample.run

    def run_otherwise_in_threes(feeds: Mapping[str, Array]) -> Array:
        return run(feeds) + np.float32(1e-7 if len(feeds["input"]) == 3 else 0)

    engine._network._sample.run = run_otherwise_in_threes  # type: ignore[method-assign]
    assert not warm_up(engine).rows_are_independent


@pytest.mark.parametrize("graph", ["_predict", "_sample"])
def test_large_runs_that_round_otherwise_are_found_out(toy: ToyNet, rows: Floats, graph: str) -> None:
    engine = toy.engine()
    engine.examples = {"input": rows}
    assert warm_up(engine).rows_are_independent
    run = getattr(engine._network, graph).run

    def run_otherwise_from_sixty_four_rows_on(feeds: Mapping[str, Array]) -> Array:
        found: Array = run(feeds)
        return found + np.float32(1e-6 if len(feeds["input"]) >= 64 else 0)

    getattr(engine._network, graph).run = run_otherwise_from_sixty_four_rows_on
    assert not warm_up(engine).rows_are_independent


def test_kernels_that_round_the_last_values_otherwise_are_found_out(toy: ToyNet, rows: Floats) -> None:
    """As those that compute eight values at a time, and the rest one by one."""
    engine = toy.engine()
    engine.examples = {"input": rows}
    run = engine._network._sample.run

    def run_with_a_tail(feeds: Mapping[str, Array]) -> Array:
        found = run(feeds)
        found.reshape(-1)[found.size // 8 * 8 :] += np.float32(1e-6)
        return found

    engine._network._sample.run = run_with_a_tail  # type: ignore[method-assign]
    assert not warm_up(engine).rows_are_independent


def test_nothing_is_learned_from_rows_that_are_the_same(toy: ToyNet, rows: Floats) -> None:
    engine = toy.engine()
    engine.examples = {"input": np.repeat(rows[:1], 8, axis=0)}
    assert not warm_up(engine).rows_are_independent
    assert not warm_up(toy.engine()).rows_are_independent  # without any


@pytest.mark.parametrize("passes", [1, 16, 32, 100, 128])
def test_rows_of_a_part_are_run_together(toy: ToyNet, passes: int) -> None:
    engine = toy.engine(work={"multiply_adds": 1, "bytes": 1})
    engine.examples = {"input": toy.rows(8)}
    engine.learned = warm_up(engine)
    runs: list[tuple[int, int]] = []
    run = engine._network._sample.run

    def counted(feeds: Mapping[str, Array]) -> Array:
        runs.append((len(feeds["input"]), len(feeds["mask_0"])))
        return run(feeds)

    engine._network._sample.run = counted  # type: ignore[method-assign]
    rows = toy.rows(500)
    engine.sample({"input": rows}, Sampling(passes, 0))
    assert {drawn for _, drawn in runs} == {passes}
    assert sum(asked for asked, _ in runs) == len(rows)


def test_the_same_seed_gives_the_same_and_another_another(engine: Engine, rows: Floats) -> None:
    np.testing.assert_array_equal(draw(engine, rows, 50, 1), draw(engine, rows, 50, 1))
    assert not np.allclose(draw(engine, rows, 50, 1), draw(engine, rows, 50, 2))


def test_passes_differ(engine: Engine, rows: Floats) -> None:
    samples = draw(engine, rows, 20)
    assert len(np.unique(samples[:, 0, 0])) == 20


def test_32_passes_are_the_first_32_of_100(engine: Engine, rows: Floats) -> None:
    np.testing.assert_allclose(draw(engine, rows, 32), draw(engine, rows, 100)[:32], atol=1e-6)


def test_a_row_does_not_depend_on_its_batch_mates(engine: Engine, rows: Floats) -> None:
    together = engine.sample({"input": rows}, Sampling(40, 3))
    for i in range(len(rows)):
        alone = engine.sample({"input": rows[i : i + 1]}, Sampling(40, 3))
        for name, value in asdict(alone.uncertainty).items():
            np.testing.assert_allclose(asdict(together.uncertainty)[name][i : i + 1], value, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(together.deterministic.values[i : i + 1], alone.deterministic.values, atol=1e-6)


def test_the_cache_changes_no_answer(toy: ToyNet, rows: Floats) -> None:
    graphs = Graph(toy.graph(masked=False)), Graph(toy.graph(masked=True))
    with_cache = Engine(toy.manifest(), Network(*graphs), MaskCache(2**20))
    with_cache.sample({"input": rows}, Sampling(50, 5))
    without = Engine(toy.manifest(), Network(*graphs), MaskCache(0))
    one, other = (engine.sample({"input": rows}, Sampling(200, 5)) for engine in (with_cache, without))
    assert_same(one, other, atol=0)


@pytest.fixture(params=[1, 2, 7, 64, 500])
def cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """At most so many rows × passes in a run."""
    monkeypatch.setattr(cuts, "MAX_ROW_PASSES_PER_RUN", request.param)
    return request.param  # type: ignore[no-any-return]


def test_how_the_work_is_cut_changes_no_answer(engine: Engine, toy: ToyNet, rows: Floats, cut: int) -> None:
    pieces = toy.engine(temperature=TEMPERATURE)
    whole = engine.sample({"input": rows}, Sampling(150, 4))
    assert_same(whole, pieces.sample({"input": rows}, Sampling(150, 4)))
    np.testing.assert_allclose(draw(pieces, rows, 150, 4), draw(engine, rows, 150, 4), atol=1e-6)
    predicted = pieces.predict({"input": rows})
    np.testing.assert_allclose(predicted.values, engine.predict({"input": rows}).values, atol=1e-6)


def test_a_network_too_large_for_two_row_passes_in_a_run_takes_one(
    toy: ToyNet, engine: Engine, rows: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuts, "MULTIPLY_ADDS_PER_RUN", 1)
    pieces = toy.engine(temperature=TEMPERATURE)
    assert_same(engine.sample({"input": rows}, Sampling(10, 0)), pieces.sample({"input": rows}, Sampling(10, 0)))


def test_long_work_pauses_with_the_seconds_that_are_left(toy: ToyNet) -> None:
    warm = toy.engine()
    warm.examples = {"input": toy.rows(5)}
    warm.learned = warm_up(warm)
    job = NotedPauses()
    warm.sample({"input": toy.rows(1000)}, Sampling(500, 0), job)
    assert len(job.left) > 20
    assert job.left[0] == max(job.left) > 0
    assert warm.estimate(1000, Sampling(500, 0)).seconds == job.left[0]


def test_a_regression_answers_in_its_own_unit() -> None:
    net = ToyNet(outputs=2)
    engine = net.engine(task="regression", labels=(), noise={"std": 0.3})
    rows = net.rows(5)
    np.testing.assert_allclose(engine.predict({"input": rows}).values, net.predict(rows), atol=1e-5)

    found = asdict(engine.sample({"input": rows}, Sampling(64, 2)).uncertainty)
    samples = net.sample(rows, draw_masks(2, 0, P, (HIDDEN,), 0, 64)).astype(np.float64)
    np.testing.assert_allclose(found["mean"], samples.mean(0), atol=1e-5)
    np.testing.assert_allclose(found["epistemic_std"], samples.std(0), atol=1e-5)
    np.testing.assert_allclose(found["total_std"] ** 2, samples.var(0) + 0.3**2, atol=1e-5)


def test_a_regression_that_states_no_noise_has_none(toy: ToyNet) -> None:
    manifest: Manifest = toy.manifest(task="regression", labels=())
    engine = Engine(manifest, Network(Graph(toy.graph(masked=False)), Graph(toy.graph(masked=True))), MaskCache(0))
    found = asdict(engine.sample({"input": toy.rows(2)}, Sampling(8, 0)).uncertainty)
    assert (found["aleatoric_std"] == 0).all()
    np.testing.assert_array_equal(found["total_std"], found["epistemic_std"])


# what cannot be answered


class Overflowing(ToyNet):
    """Answers that grow beyond float32 with the input."""

    def __init__(self) -> None:
        super().__init__()
        self.w0 = self.w0 * np.float32(1e30)


@pytest.mark.parametrize("row", [0, 5, 8])
def test_a_row_without_a_finite_answer_is_named(rows: Floats, row: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuts, "MAX_ROW_PASSES_PER_RUN", 3)  # so that the row is not always in the first run
    net = Overflowing()
    engine = net.engine()
    asked = {"input": rows * np.float32(1e-30)}
    engine.sample(asked, Sampling(5, 0))
    asked["input"][row] = 1e15
    for ask in (
        lambda: engine.predict(asked),
        lambda: engine.sample(asked, Sampling(5, 0)),
        lambda: engine.sample(asked, Sampling(5, 0, ablations=(Ablation(0, (1,)),))),
    ):
        with pytest.raises(InvalidInput, match=r"the network's answer is not a finite number") as refusal:
            ask()
        assert refusal.value.details == {"field": f"inputs[{row}]", "row": row}


@pytest.mark.parametrize("row", [0, 4, 8])
def test_a_row_that_the_graph_cannot_take_is_named(rows: Floats, row: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuts, "MAX_ROW_PASSES_PER_RUN", 35)  # seven rows of five passes
    engine = LookupNet().engine()
    asked = {"input": rows.copy()}
    asked["input"][:, 0] = 8
    adaptive = Sampling(40, 0, StopRule(confidence=0.99999))
    for sampling in (Sampling(5, 0), adaptive):
        engine.sample(asked, sampling)
    asked["input"][row:, 0] = 9
    for ask in (
        lambda: engine.predict(asked),
        lambda: engine.sample(asked, Sampling(5, 0)),
        lambda: engine.sample(asked, adaptive),
        lambda: engine.sample(asked, Sampling(5, 0, ablations=(Ablation(0, (1,)),))),
        lambda: engine.draw_all(asked, Sampling(5, 0)),
    ):
        with pytest.raises(InvalidInput, match=r"does not accept these values: indices element out of data") as refusal:
            ask()
        assert refusal.value.details == {"field": f"inputs[{row}]", "row": row}


def test_rows_that_only_fail_together_are_answered(toy: ToyNet, rows: Floats) -> None:
    """As where memory is short."""

    class Short(Graph):
        def run(self, feeds: Mapping[str, Array]) -> Array:
            if len(feeds["input"]) > 2:
                raise InvalidInput("inputs: Failed to allocate memory")
            return super().run(feeds)

    predict, sample = Short(toy.graph(masked=False)), Short(toy.graph(masked=True))
    engine = Engine(toy.manifest(), Network(predict, sample), MaskCache(2**20))
    asked = {"input": rows}
    np.testing.assert_allclose(engine.predict(asked).values, toy.engine().predict(asked).values, atol=1e-6)
    expected = toy.engine().draw_all(asked, Sampling(7, 3))
    np.testing.assert_allclose(engine.draw_all(asked, Sampling(7, 3)), expected, atol=1e-6)


# how long a run may be


def test_runs_are_cut_by_what_the_network_computes(toy: ToyNet, rows: Floats) -> None:
    """A small file may compute much: a convolution's weights are few and its products many."""
    longest: list[int] = []

    class Counting(Graph):
        def run(self, feeds: Mapping[str, Array]) -> Array:
            if "mask_0" in feeds:
                longest.append(len(feeds["input"]) * len(feeds["mask_0"]))
            return super().run(feeds)

    for work, expected in (
        ({"multiply_adds": 2**30, "bytes": 1}, 1),
        ({"multiply_adds": 2**26, "bytes": 1}, 16),
        ({"multiply_adds": 1, "bytes": 2**24}, 4),
    ):
        longest.clear()
        manifest = toy.manifest(work=work)
        graphs = Graph(toy.graph(masked=False)), Counting(toy.graph(masked=True))
        engine = Engine(manifest, Network(*graphs), MaskCache(2**20))
        answer = engine.sample({"input": rows}, Sampling(40, 1))
        assert max(longest) <= expected
        assert sum(longest) == 40 * len(rows)
        assert_same(answer, toy.engine().sample({"input": rows}, Sampling(40, 1)))


def test_the_rows_of_a_batch_share_the_cost_of_a_run(toy: ToyNet) -> None:
    """And that of the network without dropout."""
    engine = toy.engine(work={"multiply_adds": 1, "bytes": 1})
    engine.learned = Learned(Cost(1e-6, 2e-5, 2048), Cost(1e-6, 5e-5, 2048), True)
    cost = engine.batch_cost(1, Sampling(99, 0))
    assert cost
    assert cost.seconds(9) == pytest.approx(7e-5 + 9 * 100e-6)
    assert engine.batch_cost(10, Sampling(99, 0)) is None


def test_samples_are_kept_only_on_request(engine: Engine, rows: Floats) -> None:
    assert engine.sample({"input": rows}, Sampling(10, 0)).values == ()
    kept = engine.sample({"input": rows}, Sampling(10, 0, keep_samples=True)).values
    assert [values.shape for values in kept] == [(10, 3)] * len(rows)


def test_a_summary_takes_no_more_values_at_a_time_than_allowed(
    engine: Engine, rows: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    summarise = engine.summarise

    def noting(values: Float64) -> object:
        sizes.append(values.size)
        return summarise(values)

    monkeypatch.setattr(cuts, "VALUES_PER_PART", 10 * 3 * 2)
    monkeypatch.setattr(engine, "summarise", noting)
    engine.sample({"input": rows}, Sampling(10, 0))
    assert sizes == [10 * 2 * 3] * 4 + [10 * 1 * 3]


def test_the_thinned_networks_have_a_temperature_of_their_own(toy: ToyNet, rows: Floats) -> None:
    engine = toy.engine(temperature=1.5, sampled_temperature=0.7)
    found = engine.sample({"input": rows}, Sampling(20, 3, keep_samples=True))
    raw = draw(engine, rows, 20, 3).astype(np.float64)
    np.testing.assert_allclose(np.stack(found.values, axis=1), special.softmax(raw / 0.7, axis=-1), atol=1e-6)
    np.testing.assert_allclose(found.deterministic.values, special.softmax(toy.predict(rows) / 1.5, axis=-1), atol=1e-6)
