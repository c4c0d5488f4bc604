"""Conformal sets and intervals are those of MAPIE on the same calibration rows."""

import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier  # type: ignore[import-untyped]
from mapie.regression import SplitConformalRegressor  # type: ignore[import-untyped]
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression, Ridge

from service.engine.decisions import prediction_sets
from service.engine.uncertainty import summarise_classes, summarise_regression
from training.evidence.answers import Answers
from training.evidence.calibrate import COVERAGES, conformal_quantiles, scores


@pytest.mark.parametrize("rows", [400, 417, 903])
def test_sets_of_classes(rows: int) -> None:
    inputs, targets = load_digits(return_X_y=True)
    model = LogisticRegression(C=1e-4, max_iter=1000).fit(inputs[:500], targets[:500])  # unsure, so that sets differ
    chosen = slice(500, 500 + rows)
    probabilities = model.predict_proba(inputs[chosen])
    answers = Answers(probabilities, summarise_classes(probabilities[None]))
    ours = conformal_quantiles(scores(answers, targets[chosen]))

    theirs = SplitConformalClassifier(model, confidence_level=COVERAGES, conformity_score="lac", prefit=True)
    theirs.conformalize(inputs[chosen], targets[chosen])
    _, sets = theirs.predict_set(inputs[1500:])  # (rows, classes, coverages)
    their_quantiles = theirs._mapie_classifier.conformity_score_function_.quantiles_

    assert [quantile.coverage for quantile in ours] == list(COVERAGES)
    np.testing.assert_allclose([quantile.quantile for quantile in ours], their_quantiles, rtol=0, atol=1e-6)
    fresh = model.predict_proba(inputs[1500:])
    for number, quantile in enumerate(ours):
        np.testing.assert_array_equal(prediction_sets(fresh, quantile), sets[..., number])
    assert len({sets[..., number].sum() for number in range(len(ours))}) == len(ours)


@pytest.mark.parametrize("rows", [150, 201])
def test_intervals_of_values(rows: int) -> None:
    inputs, targets = load_diabetes(return_X_y=True)
    model = Ridge(0.1).fit(inputs[:200], targets[:200])
    chosen = slice(200, 200 + rows)
    values = model.predict(inputs[chosen])[:, None]
    answers = Answers(values, summarise_regression(values[None]))
    ours = conformal_quantiles(scores(answers, targets[chosen, None]))

    theirs = SplitConformalRegressor(model, confidence_level=COVERAGES, conformity_score="absolute", prefit=True)
    theirs.conformalize(inputs[chosen], targets[chosen])
    fresh, intervals = theirs.predict_interval(inputs[401:])  # (rows,), (rows, low and high, coverages)

    assert [quantile.coverage for quantile in ours] == list(COVERAGES)
    for number, quantile in enumerate(ours):
        both = np.stack([fresh - quantile.quantile, fresh + quantile.quantile], axis=1)
        np.testing.assert_allclose(intervals[..., number], both, rtol=0, atol=1e-6)
