"""What is asked of the thinned networks: adaptive counts, other dropout rates, units taken away."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from service.engine.engine import Engine
from service.engine.masks import draw_masks
from service.engine.sampling import (
    BETS,
    FIRST_LOOK,
    Ablation,
    Sampling,
    StopRule,
    is_precise,
    is_settled,
    share_of_units,
)
from service.engine.uncertainty import ClassUncertainty
from service.errors import InvalidInput
from tests.toy import HIDDEN, Floats, ToyNet

SEED = 11


@pytest.fixture(scope="module")
def engine(toy: ToyNet) -> Engine:
    return toy.engine()


@pytest.fixture(scope="module")
def rows(toy: ToyNet) -> Floats:
    return toy.rows(12)


def adaptive(passes: int, **rule: float) -> Sampling:
    return Sampling(passes, SEED, StopRule(**rule))


# when to look


@pytest.mark.parametrize("passes", [1, 15, 16, 17, 100, 10_000])
def test_the_last_look_is_at_the_last_pass(passes: int) -> None:
    looks = list(adaptive(passes, tolerance=0.1).looks())
    assert looks == sorted(set(looks))
    assert looks[-1] == passes
    assert looks[0] == min(passes, FIRST_LOOK)


def test_without_a_rule_there_is_one_look() -> None:
    assert list(Sampling(500, SEED).looks()) == [500]


# adaptive counts


@pytest.mark.parametrize("rule", [{"tolerance": 0.02}, {"confidence": 0.95}, {"tolerance": 0.01, "confidence": 0.99}])
def test_each_row_is_answered_as_with_the_count_it_took(engine: Engine, rows: Floats, rule: dict[str, float]) -> None:
    """Bit for bit, whatever its batch-mates needed."""
    found = engine.sample({"input": rows}, replace(adaptive(300, **rule), keep_samples=True))
    assert isinstance(found.uncertainty, ClassUncertainty)
    assert len(set(found.passes.tolist())) > 1  # else the test would say nothing of batch-mates
    for i, passes in enumerate(found.passes.tolist()):
        fixed = engine.sample({"input": rows[i : i + 1]}, Sampling(passes, SEED)).uncertainty
        assert isinstance(fixed, ClassUncertainty)
        np.testing.assert_array_equal(found.values[i].shape[0], passes)
        np.testing.assert_array_equal(found.uncertainty.mean[i], fixed.mean[0])
        np.testing.assert_array_equal(found.uncertainty.votes[i], fixed.votes[0])
        np.testing.assert_array_equal(found.uncertainty.mutual_information[i], fixed.mutual_information[0])


def test_it_stops_as_soon_as_every_mean_is_precise(engine: Engine, rows: Floats) -> None:
    sampling = replace(adaptive(300, tolerance=0.02), keep_samples=True)
    found = engine.sample({"input": rows}, sampling)
    assert isinstance(found.uncertainty, ClassUncertainty)
    looks = list(sampling.looks())
    for i, (passes, reason) in enumerate(zip(found.passes.tolist(), found.stopped, strict=True)):
        precise = found.uncertainty.standard_error[i].max() <= 0.02
        assert reason == ("tolerance" if precise else "max")
        assert passes in (looks if precise else looks[-1:])
        for look in looks[: looks.index(passes)]:
            assert stats.sem(found.values[i][:look], axis=0).max() > 0.02


def test_a_rule_that_never_holds_takes_all(engine: Engine, rows: Floats) -> None:
    found = engine.sample({"input": rows}, adaptive(50, tolerance=1e-9))
    assert set(found.passes.tolist()) == {50}
    assert set(found.stopped) == {"max"}


def test_the_standard_error_is_scipys() -> None:
    values = np.random.default_rng(0).normal(size=(40, 6, 3))
    errors = stats.sem(values, axis=0).max(axis=-1)
    for tolerance in (errors.min(), np.median(errors), errors.max()):
        np.testing.assert_array_equal(is_precise(values, tolerance * (1 + 1e-12)), errors <= tolerance * (1 + 1e-12))


# is the leader settled?


def test_unanimous_passes_settle_when_the_capital_says_so() -> None:
    """Two classes and a lead of 1 at every pass: the capital after n passes is the mean of (1+bet)^n."""
    for passes in (1, 2, 3, 5, 8, 13):
        settled = is_settled(np.tile([[[1.0, 0.0]]], (passes, 1, 1)), confidence=0.95)
        assert bool(settled[0]) == (np.mean((1 + BETS) ** passes) >= 1 / 0.05)


def test_it_is_seldom_wrong_however_often_it_looks() -> None:
    """Two classes that are equal in truth: at 90 % it may settle in 10 % of runs, over all looks together."""
    rng = np.random.default_rng(5)
    runs, passes = 500, 400
    lead = rng.uniform(size=(passes, runs))
    probabilities = np.stack([lead, 1 - lead], axis=-1)  # (passes, rows, classes)
    ever = np.zeros(runs, dtype=bool)
    for look in range(FIRST_LOOK, passes, 8):
        ever |= is_settled(probabilities[:look], confidence=0.9)
    assert 0 < ever.sum() <= stats.binom.ppf(0.9999, runs, 0.1)


def test_a_clear_leader_is_settled_and_a_tie_is_not() -> None:
    rng = np.random.default_rng(1)
    clear = rng.dirichlet([8, 1, 1], size=(100, 1))
    tie = np.array([0.5, 0.5, 0.0]) * np.ones((100, 1, 3))
    assert is_settled(clear, 0.99)[0]
    assert not is_settled(tie, 0.5)[0]


# other dropout rates


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.9])
def test_another_dropout_rate_is_that_of_the_masks(engine: Engine, toy: ToyNet, rows: Floats, rate: float) -> None:
    found = engine.draw_all({"input": rows}, Sampling(30, SEED, dropout_rate=rate))
    masks = draw_masks(SEED, 0, rate, (HIDDEN,), 0, 30)
    np.testing.assert_allclose(found, toy.sample(rows, masks), atol=1e-4 if rate == 0.9 else 1e-5)


def test_without_dropout_every_network_is_the_deterministic_one(engine: Engine, rows: Floats) -> None:
    found = engine.sample({"input": rows}, Sampling(5, SEED, dropout_rate=0.0, keep_samples=True))
    for values, answer in zip(found.values, found.deterministic.values, strict=True):
        np.testing.assert_allclose(values, np.tile(answer, (5, 1)), atol=1e-6)


def test_the_rate_of_alpha_dropout_is_in_the_graph(toy: ToyNet) -> None:
    site = {"name": "hidden", "kind": "alpha", "p": 0.5, "shape": (HIDDEN,)}
    with pytest.raises(InvalidInput, match="dropout_rate: cannot be changed at hidden"):
        Sampling(5, SEED, dropout_rate=0.2).sites(toy.manifest(sites=(site,)))


# units taken away


def test_ablated_units_are_zero_in_every_pass(engine: Engine, toy: ToyNet, rows: Floats) -> None:
    units = (0, 3, HIDDEN - 1)
    masks = draw_masks(SEED, 0, 0.5, (HIDDEN,), 0, 20)
    masks[..., units] = 0
    found = engine.draw_all({"input": rows}, Sampling(20, SEED, ablations=(Ablation(0, units),)))
    np.testing.assert_allclose(found, toy.sample(rows, masks), atol=1e-5)


def test_the_deterministic_answer_does_without_them_too(engine: Engine, toy: ToyNet, rows: Floats) -> None:
    mask = np.ones((1, 1, HIDDEN), dtype=np.float32)
    mask[..., :5] = 0
    expected = engine.sampled_values(toy.sample(rows, mask))[0]
    found = engine.sample({"input": rows}, Sampling(3, SEED, ablations=(Ablation(0, tuple(range(5))),)))
    np.testing.assert_allclose(found.deterministic.values, expected, atol=1e-6)
    assert not np.allclose(found.deterministic.values, engine.predict({"input": rows}).values)


def test_ablation_leaves_the_kept_masks_as_they_were(engine: Engine, rows: Floats) -> None:
    before = engine.draw_all({"input": rows}, Sampling(20, SEED))
    engine.draw_all({"input": rows}, Sampling(20, SEED, ablations=(Ablation(0, (1, 2)),)))
    np.testing.assert_array_equal(engine.draw_all({"input": rows}, Sampling(20, SEED)), before)


def test_a_fraction_is_drawn_by_the_seed_and_is_about_that_share() -> None:
    def share(seed: int) -> NDArray[np.bool_]:
        units = share_of_units(seed, 0, 0.3, (10_000,))
        return np.isin(np.arange(10_000), units)

    first = share(1)
    assert (first == share(1)).all()
    assert not (first == share(2)).all()
    assert abs(first.sum() - 3000) < 4 * np.sqrt(10_000 * 0.3 * 0.7)
    dropped = draw_masks(1, 0, 0.3, (10_000,), 0, 1)[0, 0] == 0
    assert abs((first & dropped).sum() - 900) < 4 * np.sqrt(10_000 * 0.09 * 0.91)  # independent of what is dropped
