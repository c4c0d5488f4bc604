"""The plots are well-formed SVG that says what the figures say, and the same for the same answers."""

from xml.etree import ElementTree

import numpy as np
import pytest

from service.engine.uncertainty import entropy, softmax, summarise_classes, summarise_regression
from training.evidence.answers import Answers
from training.evidence.metrics.classes import ece, reliability
from training.evidence.metrics.selective import aurc
from training.evidence.plots import plot
from training.evidence.svg import BOTTOM, LEFT, RIGHT, TOP, Axis, Line, chart

SVG = "{http://www.w3.org/2000/svg}"
RNG = np.random.default_rng(51)


def classified(rows: int = 300) -> tuple[Answers, np.ndarray]:
    logits = RNG.normal(size=(rows, 3)) * 2
    passes = softmax(logits + RNG.normal(size=(20, rows, 3)))
    return Answers(softmax(logits), summarise_classes(passes)), RNG.integers(3, size=rows)


def points(line: ElementTree.Element) -> np.ndarray:
    """(points, 2), 0 to 1 from the lower left corner of the frame."""
    pixels = np.array([pair.split(",") for pair in line.attrib["points"].split()], dtype=float)
    return np.stack([(pixels[:, 0] - LEFT) / (RIGHT - LEFT), (BOTTOM - pixels[:, 1]) / (BOTTOM - TOP)], axis=1)


def texts(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def test_the_reliability_diagram_has_the_points_of_its_bins() -> None:
    answers, targets = classified()
    root = ElementTree.fromstring(plot(answers, targets)["reliability.svg"])
    _, deterministic, _ = root.iter(f"{SVG}polyline")
    found = reliability(answers.deterministic, targets)
    np.testing.assert_allclose(points(deterministic), np.stack([found.confidence, found.accuracy], axis=1), atol=0.001)
    assert f"deterministic, ECE {ece(answers.deterministic, targets):.3f}" in texts(root)


def test_the_risk_coverage_plot_ends_at_the_error_rate() -> None:
    answers, targets = classified()
    root = ElementTree.fromstring(plot(answers, targets)["risk_coverage.svg"])
    _, mc = root.iter(f"{SVG}polyline")
    wrong = answers.uncertainty.mean.argmax(axis=1) != targets
    assert points(mc)[-1, 0] == 1
    assert len(points(mc)) <= 150
    area = aurc(wrong, entropy(answers.uncertainty.mean))
    assert f"MC dropout, AURC {area:.4f}" in texts(root)


def test_a_regression_is_shown_with_its_intervals() -> None:
    samples = RNG.normal(size=(20, 400, 2)) + RNG.normal(size=(400, 2)) * 5
    answers = Answers(samples.mean(axis=0), summarise_regression(samples, noise_std=1.0))
    root = ElementTree.fromstring(plot(answers, samples[0])["predicted_and_true.svg"])
    assert len(list(root.iter(f"{SVG}circle"))) == 150
    assert len(list(root.iter(f"{SVG}polyline"))) == 151
    assert "90% interval" in texts(root)


@pytest.mark.parametrize("rows", [1, 2])
def test_few_rows_are_enough(rows: int) -> None:
    answers, targets = classified(rows)
    for content in plot(answers, targets).values():
        ElementTree.fromstring(content)
    values = np.zeros((rows, 1))
    (content,) = plot(Answers(values, summarise_regression(values[None])), values).values()
    ElementTree.fromstring(content)


def test_they_are_small_and_the_same_for_the_same_answers() -> None:
    answers, targets = classified(5000)
    first, again = plot(answers, targets), plot(answers, targets)
    assert first == again
    assert all(len(content) < 2**15 for content in first.values())


def test_what_is_written_is_escaped_and_suits_a_dark_page() -> None:
    line = Line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), "s0", "a & b")
    text = chart("x < y", Axis("x", 0, 1), Axis("y", 0, 1), [line])
    assert {"x < y", "a & b"} <= set(texts(ElementTree.fromstring(text)))
    assert "prefers-color-scheme:dark" in text


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-7, 8, [-5, 0, 5]), (0.012, 0.0131, [0.012, 0.0125, 0.013])],
)
def test_ticks_are_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    assert Axis("", low, high).ticks()[: len(ticks)] == pytest.approx(ticks)
