"""Rows that training did not learn from → what the manifest says because of them: fitted, calibrated, evaluated.

Each step asks the exported graphs through the service's engine, so that what it finds holds for what is served.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from service.engine.engine import Engine
from service.engine.masks import MaskCache
from service.engine.sampling import Sampling
from service.engine.steps import Inputs
from service.errors import InvalidInput
from service.model.manifest import LearnedNoise, Manifest
from service.model.runtime import Graph
from training.errors import TrainingError
from training.evidence.answers import ask
from training.evidence.calibrate import SCALES, calibrate, check_above_0, describe_noise, fit
from training.evidence.report import make_report
from training.evidence.rows import Rows, check_rows, named_inputs
from training.evidence.temperature import BOUNDS, at_bound
from training.exporting.verify import Verified

MASK_BYTES = 2**28

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Parts of the data, each for a step of its own, and how the thinned networks are asked about them."""

    validation: Rows | None = None
    calibration: Rows | None = None
    test: Rows | None = None
    others: Sequence[ArrayLike] = ()
    """Inputs of another data set, which the network should doubt."""
    passes: int = 100
    seed: int = 0

    @property
    def parts(self) -> dict[str, Rows]:
        """Those that are given, by name."""
        parts = {"validation": self.validation, "calibration": self.calibration, "test": self.test}
        return {name: rows for name, rows in parts.items() if rows is not None}

    @property
    def test_rows(self) -> int:
        return len(np.asarray(self.test.targets)) if self.test else 0

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.passes, self.seed)


class Asked:
    """Graphs that passed verification, to be asked as a manifest says."""

    def __init__(self, verified: Verified) -> None:
        self.predict, self.sample, self.masks = Graph(verified.predict), Graph(verified.sample), MaskCache(MASK_BYTES)

    def engine(self, manifest: Manifest) -> Engine:
        return Engine(manifest, self.predict, self.sample, self.masks)


def check_noise_told(manifest: Manifest, asked: Asked, inputs: Inputs, sampling: Sampling) -> None:
    """Raises TrainingError where a learned noise of these rows is not above 0, with or without dropout."""
    if isinstance(manifest.noise, LearnedNoise):
        outputs = asked.predict.run(inputs)[None], asked.engine(manifest).draw_all(inputs, sampling)
        check_above_0(np.split(np.concatenate(outputs), 2, axis=-1)[1])


def checked(manifest: Manifest, evidence: Evidence, say: Say) -> Manifest:
    """Warn of rows that two parts share; raises TrainingError for a part that does not fit the model."""
    rows = {name: _distinct(check_rows(name, part, manifest)[0]) for name, part in evidence.parts.items()}
    shared = {(one, other): len(rows[one] & rows[other]) for one, other in combinations(rows, 2)}
    warnings = (
        f"{one} and {other} rows share {count} rows, so that what was chosen by them is measured on them"
        for (one, other), count in shared.items()
        if count
    )
    return _warned(manifest, warnings, say)


def _distinct(inputs: Inputs) -> set[bytes]:
    """Digests of the rows of all inputs together."""
    rows = zip(*inputs.values(), strict=True)
    return {blake2b(b"".join(value.tobytes() for value in row), digest_size=16).digest() for row in rows}


def fitted(manifest: Manifest, asked: Asked, evidence: Evidence, say: Say) -> Manifest:
    """With the temperatures, or the noise, that suit the validation rows."""
    if evidence.validation is None:
        return manifest
    inputs, targets = check_rows("validation", evidence.validation, manifest)
    samples = asked.engine(manifest).draw_all(inputs, evidence.sampling)
    found = fit(manifest, asked.predict.run(inputs), samples, targets)
    for line in _what_was_fitted(found) if manifest.noise is None or manifest.noise != found.noise else ():
        say(f"{line}, on {len(targets)} validation rows")
    return _warned(found, _beyond_bounds(found), say)


def calibrated(manifest: Manifest, asked: Asked, evidence: Evidence, say: Say) -> Manifest:
    """With the conformal quantiles and abstention thresholds of the calibration rows."""
    if evidence.calibration is None:
        return manifest
    inputs, targets = check_rows("calibration", evidence.calibration, manifest)
    answers = ask(asked.engine(manifest), inputs, evidence.passes, evidence.seed)
    found = calibrate(manifest, answers, targets, evidence.test_rows)
    say(f"{_what_was_calibrated(found)}, on {len(targets)} calibration rows")
    return found


def evaluated(manifest: Manifest, asked: Asked, evidence: Evidence, say: Say) -> tuple[Manifest, Mapping[str, bytes]]:
    """With the figures of the test rows, and what they say against the model; and plots of them."""
    if evidence.test is None:
        return manifest, {}
    inputs, targets = check_rows("test", evidence.test, manifest)
    strangers = _other_rows(evidence.others, manifest) if evidence.others else None
    report = make_report(asked.engine(manifest), inputs, targets, strangers, evidence.passes, evidence.seed)
    say(f"evaluate: with and without dropout, on {len(targets)} test rows")
    found = manifest.model_copy(update={"evaluation": report.figures, "class_figures": report.classes})
    return _warned(found, report.warnings, say), report.plots


def _warned(manifest: Manifest, warnings: Iterable[str], say: Say) -> Manifest:
    """Return the manifest with these warnings as well, and report them."""
    found = tuple(warnings)
    for warning in found:
        say(f"warning: {warning}")
    return manifest.model_copy(update={"warnings": (*manifest.warnings, *found)})


def _other_rows(arrays: Sequence[ArrayLike], manifest: Manifest) -> Inputs:
    try:
        return named_inputs(arrays, manifest)
    except InvalidInput as error:
        raise TrainingError(f"others: {error.message}") from None


def _what_was_fitted(manifest: Manifest) -> Iterator[str]:
    if manifest.task == "regression":
        yield f"fit: {describe_noise(manifest.noise)}"
        return
    for kind, temperature in _temperatures(manifest).items():
        yield f"fit: {kind} {temperature:.3g}"


def _beyond_bounds(manifest: Manifest) -> Iterator[str]:
    """Warnings of what was stopped by the bounds within which it is sought."""
    if isinstance(manifest.noise, LearnedNoise) and at_bound(manifest.noise.scale, SCALES):
        yield f"the best factor of the learned noise lies beyond {manifest.noise.scale:.3g}: trust no deviation"
    for kind, temperature in _temperatures(manifest).items() if manifest.labels else ():
        if at_bound(temperature, BOUNDS):
            yield f"the best {kind} lies beyond {temperature:.3g}: trust no probability"


def _temperatures(manifest: Manifest) -> dict[str, float]:
    return {
        "temperature": manifest.temperature,
        "sampled temperature": manifest.sampled_temperature or manifest.temperature,
    }


def _what_was_calibrated(manifest: Manifest) -> str:
    coverages = ", ".join(f"{quantile.coverage:g}" for quantile in manifest.conformal)
    text = f"calibrate: sets of coverage {coverages or 'none'}"
    if manifest.task == "regression":
        return text
    rates = ", ".join(f"{threshold.error_rate:g}" for threshold in manifest.abstention)
    return f"{text}; thresholds for error rates {rates or 'none'}"
