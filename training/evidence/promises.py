"""What prediction sets, intervals and thresholds did on the test rows, against what calibration promises of them."""

from collections.abc import Iterator

from scipy.stats import binom

from service.model.manifest import Manifest
from training.evidence.calibrate import EXPECTED
from training.evidence.evaluate import Figures

DIFFER = "the test rows seem to differ from those calibrated on"


def unkept(found: Figures, manifest: Manifest, rows: int) -> Iterator[str]:
    """A warning for each kind of promise that these figures of so many test rows contradict."""
    yield from _coverages(found, manifest)
    yield from _error_rates(found, manifest, rows)


def _coverages(found: Figures, manifest: Manifest) -> Iterator[str]:
    outside = [
        f"{covered:.4g} for {quantile.coverage:g} ({quantile.expected[0]:.4g} to {quantile.expected[1]:.4g})"
        for quantile in manifest.conformal
        if (covered := found["deterministic"].get(f"coverage_{quantile.coverage:g}")) is not None
        and quantile.expected
        and not quantile.expected[0] <= covered <= quantile.expected[1]
    ]
    if outside:
        sets = "sets" if manifest.labels else "intervals"
        yield (
            f"{DIFFER}: {sets} of a stated coverage hold the truth of {', '.join(outside)}, in brackets the"
            f" {EXPECTED:.0%} band of rows like those; no coverage is promised of rows like the test rows"
        )


def _error_rates(found: Figures, manifest: Manifest, rows: int) -> Iterator[str]:
    """Of the accepted rows more may be wrong than aimed at by chance, at most so many with EXPECTED."""
    above = []
    for threshold in manifest.abstention:
        aim = f"{threshold.error_rate:g}"
        rate, accepted = (found["mc"].get(f"{name}_{aim}", 0.0) for name in ("error_rate", "accepted"))
        allowed = binom.ppf(EXPECTED, round(accepted * rows), threshold.error_rate)
        if round(rate * accepted * rows) > allowed:
            above.append(f"{rate:.4g} for {aim}")
    if above:
        yield (
            f"{DIFFER}: of the rows accepted for a stated error rate a share of {', '.join(above)} is wrong, which is"
            " more than chance explains; no error rate is promised of rows like the test rows"
        )
