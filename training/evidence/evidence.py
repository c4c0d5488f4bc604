"""Fit, calibrate and evaluate a model on rows that training did not use, and record the results in its manifest.

Each step runs the exported graphs through the service's engine, so that its results hold for what is served.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from service.engine.engine import Engine
from service.engine.inputs import Inputs
from service.engine.masks import MaskCache
from service.engine.network import Network
from service.engine.sampling import Sampling
from service.errors import InvalidInput
from service.model.manifest import LearnedNoise, Manifest
from service.model.runtime import Graph
from training.errors import TrainingError
from training.evidence.answers import compute_answers
from training.evidence.calibrate import SCALES, calibrate, check_above_0, describe_noise, fit
from training.evidence.report import make_report
from training.evidence.rows import Rows, check_rows, named_inputs
from training.evidence.temperature import BOUNDS, at_bound
from training.exporting.verify import Verified

MASK_BYTES = 2**28
"""Memory for masks, in bytes."""

Log = Callable[[str], None]
"""A function that is called with a line on each step's outcome."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Parts of the data, each for a step of its own, and the sampling of the thinned networks on them."""

    validation: Rows | None = None
    """Rows that fit the temperatures or the noise."""
    calibration: Rows | None = None
    """Rows that fit the conformal quantiles and abstention thresholds."""
    test: Rows | None = None
    """Rows of the reported figures."""
    others: Sequence[ArrayLike] = ()
    """OOD data: inputs of another data set, to which the network should give high uncertainty."""
    passes: int = 100
    """The number of samples a row."""
    seed: int = 0
    """The seed of the samples' masks."""

    @property
    def parts(self) -> dict[str, Rows]:
        """The parts given, by name."""
        parts = {"validation": self.validation, "calibration": self.calibration, "test": self.test}
        return {name: rows for name, rows in parts.items() if rows is not None}

    @property
    def test_rows(self) -> int:
        """The number of test rows."""
        return len(np.asarray(self.test.targets)) if self.test else 0

    @property
    def sampling(self) -> Sampling:
        """The number of samples and their seed."""
        return Sampling(self.passes, self.seed)


class OpenGraphs:
    """Both graphs of a network, ready to run under any manifest."""

    def __init__(self, predict: Graph, sample: Graph) -> None:
        """Take both graphs as the service loads them."""
        self.predict = predict
        self._masks = MaskCache(MASK_BYTES)
        self._network = Network(predict, sample)

    def engine(self, manifest: Manifest) -> Engine:
        """Return the service's engine for these graphs and the manifest."""
        return Engine(manifest, self._network, self._masks)


class VerifiedGraphs(OpenGraphs):
    """Graphs that passed verification."""

    def __init__(self, verified: Verified) -> None:
        """Open both graphs in onnxruntime."""
        super().__init__(*verified.open())


def check_learned_noise(manifest: Manifest, graphs: VerifiedGraphs, inputs: Inputs, sampling: Sampling) -> None:
    """Raise TrainingError where the learned noise of these rows is not above 0, with or without dropout."""
    if isinstance(manifest.noise, LearnedNoise):
        outputs = graphs.predict.run(inputs)[None], graphs.engine(manifest).draw_all(inputs, sampling)
        check_above_0(np.split(np.concatenate(outputs), 2, axis=-1)[1])


def checked(manifest: Manifest, evidence: Evidence, log: Log) -> Manifest:
    """Return the manifest with warnings of rows that two parts share; raise TrainingError for a part that is unfit."""
    rows = {name: _distinct(check_rows(name, part, manifest)[0]) for name, part in evidence.parts.items()}
    shared = {(one, other): len(rows[one] & rows[other]) for one, other in combinations(rows, 2)}
    warnings = (
        f"{one} and {other} rows share {count} rows, so that the same rows choose and measure"
        for (one, other), count in shared.items()
        if count
    )
    return _warned(manifest, warnings, log)


def _distinct(inputs: Inputs) -> set[bytes]:
    """Return the digests of the rows of all inputs together."""
    rows = zip(*inputs.values(), strict=True)
    return {blake2b(b"".join(value.tobytes() for value in row), digest_size=16).digest() for row in rows}


def fitted(manifest: Manifest, graphs: OpenGraphs, evidence: Evidence, log: Log) -> Manifest:
    """Return the manifest with temperatures, or with noise, fitted to the validation rows."""
    if evidence.validation is None:
        return manifest
    inputs, targets = check_rows("validation", evidence.validation, manifest)
    samples = graphs.engine(manifest).draw_all(inputs, evidence.sampling)
    found = fit(manifest, graphs.predict.run(inputs), samples, targets)
    for line in _describe_fit(found) if manifest.noise is None or manifest.noise != found.noise else ():
        log(f"{line}, on {len(targets)} validation rows")
    return _warned(found, _beyond_bounds(found), log)


def calibrated(manifest: Manifest, graphs: VerifiedGraphs, evidence: Evidence, log: Log) -> Manifest:
    """Return the manifest with conformal quantiles and abstention thresholds fitted to the calibration rows."""
    if evidence.calibration is None:
        return manifest
    inputs, targets = check_rows("calibration", evidence.calibration, manifest)
    answers = compute_answers(graphs.engine(manifest), inputs, evidence.passes, evidence.seed)
    found = calibrate(manifest, answers, targets, evidence.test_rows)
    log(f"{_describe_calibration(found)}, on {len(targets)} calibration rows")
    return found


def evaluated(
    manifest: Manifest, graphs: VerifiedGraphs, evidence: Evidence, log: Log
) -> tuple[Manifest, Mapping[str, bytes]]:
    """Return the manifest with the figures and warnings of the test rows, and plots of them by file name."""
    if evidence.test is None:
        return manifest, {}
    inputs, targets = check_rows("test", evidence.test, manifest)
    ood = _ood_inputs(evidence.others, manifest) if evidence.others else None
    report = make_report(graphs.engine(manifest), inputs, targets, ood, evidence.passes, evidence.seed)
    log(f"evaluate: with and without dropout, on {len(targets)} test rows")
    found = manifest.model_copy(update={"evaluation": report.figures, "class_figures": report.classes})
    return _warned(found, report.warnings, log), report.plots


def _warned(manifest: Manifest, warnings: Iterable[str], log: Log) -> Manifest:
    """Return the manifest with these warnings as well, and log them."""
    found = tuple(warnings)
    for warning in found:
        log(f"warning: {warning}")
    return manifest.model_copy(update={"warnings": (*manifest.warnings, *found)})


def _ood_inputs(arrays: Sequence[ArrayLike], manifest: Manifest) -> Inputs:
    try:
        return named_inputs(arrays, manifest)
    except InvalidInput as error:
        raise TrainingError(f"others: {error.message}") from None


def _describe_fit(manifest: Manifest) -> Iterator[str]:
    if manifest.task == "regression":
        yield f"fit: {describe_noise(manifest.noise)}"
        return
    for kind, temperature in _temperatures(manifest).items():
        yield f"fit: {kind} {temperature:.3g}"


def _beyond_bounds(manifest: Manifest) -> Iterator[str]:
    """Yield a warning of each fitted parameter that lies at a bound of its search."""
    if isinstance(manifest.noise, LearnedNoise) and at_bound(manifest.noise.scale, SCALES):
        yield f"the best factor of the learned noise lies beyond {manifest.noise.scale:.3g}: deviations are unreliable"
    for kind, temperature in _temperatures(manifest).items() if manifest.labels else ():
        if at_bound(temperature, BOUNDS):
            yield f"the best {kind} lies beyond {temperature:.3g}: probabilities are unreliable"


def _temperatures(manifest: Manifest) -> dict[str, float]:
    return {
        "temperature": manifest.temperature,
        "sampled temperature": manifest.sampled_temperature or manifest.temperature,
    }


def _describe_calibration(manifest: Manifest) -> str:
    coverages = ", ".join(f"{quantile.coverage:g}" for quantile in manifest.conformal)
    text = f"calibrate: sets of coverage {coverages or 'none'}"
    if manifest.task == "regression":
        return text
    rates = ", ".join(f"{threshold.error_rate:g}" for threshold in manifest.abstention)
    return f"{text}; thresholds for error rates {rates or 'none'}"
