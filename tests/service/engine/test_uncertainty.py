"""The numbers, against closed forms, scipy, and what must hold for any samples."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import special, stats

from service.engine import uncertainty
from service.engine.uncertainty import Float64, join_rows, softmax, summarise_classes, summarise_regression

SURE = 200.0
"""A logit so far above the others that its probability is 1 in float64."""

LOGITS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=3, max_dims=3, max_side=6).filter(lambda shape: shape[2] > 1),
    elements=st.floats(-50, 50, width=32),
)
VALUES = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.floats(-1000, 1000, width=32)
)


def rows_of(*passes: list[float]) -> Float64:
    """The logits of each pass for a single row → probabilities (passes, 1, classes)."""
    return softmax(np.array(passes, dtype=np.float32)[:, None, :])


def random_logits(passes: int = 50, rows: int = 7, classes: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(scale=3, size=(passes, rows, classes)).astype(np.float32)


def test_total_disagreement_between_two_classes_is_ln_2_and_all_of_it_epistemic() -> None:
    found = summarise_classes(rows_of([SURE, 0], [0, SURE]))
    assert found.predictive_entropy == pytest.approx(math.log(2), abs=1e-12)
    assert found.mutual_information == pytest.approx(math.log(2), abs=1e-12)
    assert found.expected_entropy == pytest.approx(0, abs=1e-12)
    assert found.variation_ratio == 0.5
    np.testing.assert_allclose(found.mean, [[0.5, 0.5]])
    np.testing.assert_allclose(found.std, [[0.5, 0.5]])
    np.testing.assert_array_equal(found.votes, [[1, 1]])


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_uniform_answers_are_ln_c_and_all_of_it_aleatoric(classes: int) -> None:
    found = summarise_classes(softmax(np.zeros((4, 1, classes), dtype=np.float32)))
    assert found.predictive_entropy == pytest.approx(math.log(classes))
    assert found.expected_entropy == pytest.approx(math.log(classes))
    assert found.mutual_information == pytest.approx(0, abs=1e-12)


def test_a_sure_and_unanimous_ensemble_has_no_uncertainty() -> None:
    found = summarise_classes(rows_of(*[[0, SURE, 0]] * 5))
    for value in (found.predictive_entropy, found.expected_entropy, found.mutual_information, found.variation_ratio):
        assert value == pytest.approx(0, abs=1e-12)
    np.testing.assert_array_equal(found.votes, [[0, 5, 0]])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_agrees_with_scipy(temperature: float) -> None:
    logits = random_logits()
    passes = len(logits)
    probabilities = special.softmax(logits.astype(np.float64) / temperature, axis=-1)
    found = summarise_classes(softmax(logits, temperature))

    np.testing.assert_allclose(found.mean, probabilities.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.std, np.std(probabilities, axis=0), rtol=1e-9)
    np.testing.assert_allclose(found.standard_error, stats.sem(probabilities, axis=0, ddof=1), rtol=1e-9)
    np.testing.assert_allclose(found.predictive_entropy, stats.entropy(probabilities.mean(0), axis=-1), rtol=1e-9)
    np.testing.assert_allclose(found.expected_entropy, stats.entropy(probabilities, axis=-1).mean(0), rtol=1e-9)
    divergence = special.rel_entr(probabilities, probabilities.mean(0)).sum(-1).mean(0)
    np.testing.assert_allclose(found.mutual_information, divergence, rtol=1e-6, atol=1e-12)
    most_common = stats.mode(logits.argmax(-1), axis=0).count
    np.testing.assert_allclose(found.variation_ratio, 1 - most_common / passes)


@given(LOGITS, st.floats(0.1, 10))
def test_bounds_of_the_entropies(logits: NDArray[np.float32], temperature: float) -> None:
    found = summarise_classes(softmax(logits, temperature))
    classes = logits.shape[2]
    assert (found.mutual_information >= 0).all()
    assert (found.expected_entropy >= 0).all()
    assert (found.mutual_information <= found.predictive_entropy + 1e-12).all()
    assert (found.predictive_entropy <= math.log(classes) + 1e-12).all()
    np.testing.assert_allclose(found.expected_entropy + found.mutual_information, found.predictive_entropy, atol=1e-12)


@given(LOGITS)
def test_votes_are_those_of_every_pass(logits: NDArray[np.float32]) -> None:
    found = summarise_classes(softmax(logits))
    passes, rows, classes = logits.shape
    assert found.votes.shape == (rows, classes)
    assert (found.votes.sum(axis=1) == passes).all()
    np.testing.assert_allclose(found.variation_ratio, 1 - found.votes.max(axis=1) / passes)
    assert (found.variation_ratio <= 1 - 1 / classes + 1e-12).all()


@given(LOGITS, st.randoms(use_true_random=False))
def test_the_order_of_the_passes_does_not_matter(logits: NDArray[np.float32], random: Any) -> None:
    order = list(range(len(logits)))
    random.shuffle(order)
    assert_close(summarise_classes(softmax(logits)), summarise_classes(softmax(logits)[order]))


@given(LOGITS, st.floats(0.1, 10))
def test_temperature_divides_the_logits(logits: NDArray[np.float32], temperature: float) -> None:
    divided = softmax(logits.astype(np.float64) / temperature)
    assert_close(summarise_classes(softmax(logits, temperature)), summarise_classes(divided))


@given(LOGITS, st.floats(-100, 100))
def test_a_constant_added_to_all_logits_changes_nothing(logits: NDArray[np.float32], constant: float) -> None:
    wide = logits.astype(np.float64)
    np.testing.assert_allclose(softmax(wide + constant), softmax(wide), atol=1e-9)


@given(VALUES, st.floats(0, 100))
def test_law_of_total_variance(values: NDArray[np.float32], noise: float) -> None:
    found = summarise_regression(values.astype(np.float64), noise)
    np.testing.assert_allclose(found.total_std**2, found.epistemic_std**2 + found.aleatoric_std**2, rtol=1e-9)
    np.testing.assert_allclose(found.mean, values.astype(np.float64).mean(axis=0), atol=1e-9)
    np.testing.assert_array_equal(found.aleatoric_std, np.full(values.shape[1:], noise))


def test_total_variance_is_that_of_answers_with_noise() -> None:
    values = np.array([[[1.0]], [[3.0]]])
    found = summarise_regression(values, noise_std=2.0)
    assert found.mean == 2
    assert found.epistemic_std == 1
    assert found.total_std == pytest.approx(math.sqrt(5))
    assert found.standard_error == 1  # s = √2, T = 2


@given(VALUES.filter(lambda values: len(values) > 1))
def test_standard_error_is_s_by_root_t(values: NDArray[np.float32]) -> None:
    wide = values.astype(np.float64)
    expected = wide.std(axis=0, ddof=1) / math.sqrt(len(wide))
    np.testing.assert_allclose(summarise_regression(wide).standard_error, expected, atol=1e-9)


def test_a_single_pass_tells_nothing_of_the_error() -> None:
    assert np.isnan(summarise_classes(softmax(random_logits(passes=1))).standard_error).all()
    assert np.isnan(summarise_regression(random_logits(passes=1).astype(np.float64)).standard_error).all()


@pytest.mark.parametrize("huge", [1e4, 1e30, float(np.finfo(np.float32).max)])
def test_huge_logits_do_not_overflow(huge: float) -> None:
    found = summarise_classes(rows_of([huge, -huge], [-huge, huge]))
    np.testing.assert_allclose(found.mean, [[0.5, 0.5]])
    assert found.mutual_information == pytest.approx(math.log(2))
    assert np.isfinite(found.expected_entropy).all()


@pytest.mark.parametrize("shape", [(3,), (4, 3), (0, 4, 3), (2, 2, 2, 2)])
@pytest.mark.parametrize("summarise", [summarise_classes, summarise_regression])
def test_other_axes_are_refused(shape: tuple[int, ...], summarise: Any) -> None:
    with pytest.raises(ValueError, match="passes, rows, outputs"):
        summarise(np.zeros(shape, dtype=np.float32))


@pytest.mark.parametrize("summarise", [summarise_classes, summarise_regression])
def test_joined_rows_are_the_rows_together(summarise: Any) -> None:
    samples = random_logits(rows=7)
    joined = join_rows([summarise(samples[:, first : first + 3]) for first in (0, 3, 6)])
    assert_close(joined, summarise(samples))


def assert_close(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    for name in type(one).__dataclass_fields__:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-9, err_msg=name)


def test_entropy_counts_nought_as_nought() -> None:
    assert uncertainty.entropy(np.array([1.0, 0.0])) == 0
    assert uncertainty.entropy(np.array([0.25] * 4)) == pytest.approx(math.log(4))
