"""Evaluate a published network through the service's engine on test digits, upright and rotated."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.reproduce.mnist.protocol import ANGLES, CLASSES, ROTATED_PASSES
from service import load_model
from service.engine.engine import Engine
from service.engine.masks import MaskCache
from service.engine.sampling import Sampling
from service.engine.uncertainty import ClassUncertainty, softmax
from training import publish_module
from training.data import Float32, Int64
from training.evidence.ood import rotate

MASK_BYTES = 2**28
DIGITS = tuple(str(digit) for digit in range(CLASSES))
ROWS_AT_ONCE = 1000
"""Test digits a call, as the samples of all need much memory."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Test errors of the mean of T samples, per cent."""

    passes: list[int]
    mean: list[float]
    """Mean over as many disjoint groups of samples as there are."""
    deviation: list[float]
    """Standard deviation between the groups; 0 for a single one."""


@dataclass(frozen=True, slots=True)
class Turned:
    """Figures of rotated digits, a number an angle; entropies in nats, means over the digits."""

    angles: list[int]
    accuracy: list[float]
    """Accuracy of the mean of the samples."""
    deterministic_accuracy: list[float]
    confidence: list[float]
    """Mean of the highest probability of the deterministic answer."""
    predictive_entropy: list[float]
    expected_entropy: list[float]
    mutual_information: list[float]


def serve(network: nn.Module, images: Float32, labels: Sequence[str] = DIGITS) -> Engine:
    """Export, verify and publish the network like any other, and load it as the service does."""
    with tempfile.TemporaryDirectory() as folder:
        example = (torch.from_numpy(images[:17]),)
        published, _ = publish_module(network, example, name="reproduced", models=Path(folder), labels=labels)
        return load_model(published, MaskCache(MASK_BYTES))


def error(engine: Engine, images: Float32, digits: Int64) -> float:
    """Return the error of weight scaling, the deterministic pass, in per cent."""
    wrong = [(_predict(engine, images[some]).argmax(axis=1) != digits[some]).sum() for some in _chunks(len(images))]
    return _per_cent(sum(wrong), len(digits))


def curve(
    engine: Engine,
    images: Float32,
    digits: Int64,
    counts: Sequence[int],
    seed: int,
    on_rows: Callable[[int], None],
) -> Curve:
    """Return the errors of each number of samples, from one run of the most; `on_rows` is called with the
    digits done.
    """
    most = max(counts)
    groups = {count: most // count for count in counts}
    wrong = {count: np.zeros(groups[count]) for count in counts}
    for some in _chunks(len(images)):
        raw = engine.draw_all({"input": images[some]}, Sampling(most, seed))
        probabilities = softmax(raw)  # (passes, rows, classes)
        for count in counts:
            means = probabilities[: groups[count] * count].reshape(groups[count], count, *raw.shape[1:]).mean(axis=1)
            wrong[count] += (means.argmax(axis=2) != digits[some]).sum(axis=1)
        on_rows(some.stop)
    errors = {count: 100 * of / len(digits) for count, of in wrong.items()}
    return Curve(
        list(counts), [float(of.mean()) for of in errors.values()], [float(of.std()) for of in errors.values()]
    )


def turn(engine: Engine, images: Float32, digits: Int64, seed: int, on_angle: Callable[[int], None]) -> Turned:
    """Return the figures at each angle; `on_angle` is called with the number of angles done."""
    turned = Turned([], [], [], [], [], [], [])
    for number, angle in enumerate(ANGLES, start=1):
        sampled = engine.sample({"input": rotate(images, angle)}, Sampling(ROTATED_PASSES, seed))
        uncertainty, deterministic = sampled.uncertainty, sampled.deterministic.values
        assert isinstance(uncertainty, ClassUncertainty)
        turned.angles.append(angle)
        turned.accuracy.append(float((uncertainty.mean.argmax(axis=1) == digits).mean()))
        turned.deterministic_accuracy.append(float((deterministic.argmax(axis=1) == digits).mean()))
        turned.confidence.append(float(deterministic.max(axis=1).mean()))
        turned.predictive_entropy.append(float(uncertainty.predictive_entropy.mean()))
        turned.expected_entropy.append(float(uncertainty.expected_entropy.mean()))
        turned.mutual_information.append(float(uncertainty.mutual_information.mean()))
        on_angle(number)
    return turned


def _predict(engine: Engine, images: Float32) -> NDArray[np.float64]:
    return engine.predict({"input": images}).values


def _chunks(rows: int) -> list[slice]:
    return [slice(first, min(first + ROWS_AT_ONCE, rows)) for first in range(0, rows, ROWS_AT_ONCE)]


def _per_cent(wrong: int, of: int) -> float:
    return 100 * float(wrong) / of
