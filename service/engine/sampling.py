"""Describe how samples are drawn: their number, seed and changes of the network, and when to stop.

Each row stops by itself, so that its answer does not depend on its batch-mates.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.engine.masks import Float32, draw_masks
from service.engine.uncertainty import Float64, mean_of_passes, standard_error, std_of_passes
from service.errors import InvalidInput
from service.model.manifest import DropoutSite, Manifest

FIRST_LOOK = 16
"""The number of passes before the first check of a stop rule; fewer are too few to estimate their spread."""

BETS = np.linspace(0.1, 0.9, 9)
"""Fractions of the capital bet in `is_settled`, whose results are averaged."""

ABLATION_STREAM = 2**32
"""Added to a site's number, so that ablated units are drawn independently of dropped ones."""


@dataclass(frozen=True, slots=True)
class StopRule:
    """Stop drawing samples for a row once one of the rules holds; None turns a rule off."""

    tolerance: float | None = None
    """Largest standard error of the mean of every class's probability, or of every value of a regression."""
    confidence: float | None = None
    """Confidence that the class with the highest mean has the highest probability with unlimited samples."""


@dataclass(frozen=True, slots=True)
class Ablation:
    """Units of a site that are zero in every pass."""

    site: int
    units: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sampling:
    """The options of sampling; the same options always give the same samples."""

    passes: int
    """Number of samples, with a stop rule the largest one."""
    seed: int
    """Seed of the masks."""
    stop: StopRule | None = None
    dropout_rate: float | None = None
    """p of every site, in place of the model's own."""
    ablations: tuple[Ablation, ...] = ()
    quantiles: tuple[float, ...] = ()
    """Quantiles of the samples to return."""
    keep_samples: bool = False
    """Whether to return all samples."""

    @property
    def first_look(self) -> int:
        """The number of passes before the first check of the stop rule; all of them without one."""
        return min(FIRST_LOOK, self.passes) if self.stop else self.passes

    def looks(self) -> Iterator[int]:
        """Yield the numbers of passes after which to check the stop rule: 16, 32, 48, 72, … and the last."""
        look = FIRST_LOOK
        while self.stop and look < self.passes:
            yield look
            look += max(FIRST_LOOK, look // 2)
        yield self.passes

    def stops(self, values: Float64) -> NDArray[np.str_]:
        """Return why each row stops, or "" to continue, from values (passes, rows, outputs): (rows,).

        The reasons are `tolerance` and `confidence` of the stop rule, and `max` after all passes.
        """
        passes, rows, _ = values.shape
        reasons = np.full(rows, "max" if passes == self.passes else "", dtype="<U10")
        if self.stop and self.stop.confidence is not None:
            reasons[is_settled(values, self.stop.confidence)] = "confidence"
        if self.stop and self.stop.tolerance is not None and passes > 1:
            reasons[is_precise(values, self.stop.tolerance)] = "tolerance"
        return reasons

    def sites(self, manifest: Manifest) -> tuple[DropoutSite, ...]:
        """Return the model's dropout sites with the requested rate. Raises InvalidInput for alpha dropout."""
        if self.dropout_rate is None:
            return manifest.sites
        if alpha := [site.name for site in manifest.sites if site.kind == "alpha"]:
            raise InvalidInput(
                f"dropout_rate: cannot be changed at {alpha[0]}: alpha dropout has its rate in the graph",
                field="dropout_rate",
            )
        return tuple(site.model_copy(update={"p": self.dropout_rate}) for site in manifest.sites)

    def ablate(self, masks: Sequence[Float32]) -> list[Float32]:
        """Return the masks (passes, 1, …) of each site with ablated units set to zero."""
        changed = list(masks)
        for ablation in self.ablations:
            mask = changed[ablation.site].copy()
            flat = mask.reshape(len(mask), -1)  # (passes, units)
            flat[:, np.array(ablation.units, dtype=np.intp)] = 0
            changed[ablation.site] = mask
        return changed

    @property
    def changes_network(self) -> bool:
        """Whether the network differs from the trained one, so that its calibration is not valid."""
        return self.dropout_rate is not None or bool(self.ablations)


def share_of_units(seed: int, site: int, fraction: float, shape: Sequence[int]) -> tuple[int, ...]:
    """Return about this fraction of a site's units, chosen by the seed independently of dropped ones."""
    drawn = draw_masks(seed, ABLATION_STREAM + site, fraction, shape, 0, 1)
    return tuple(np.flatnonzero(drawn.ravel() == 0).tolist())


def is_precise(values: Float64, tolerance: float) -> NDArray[np.bool_]:
    """Return whether the standard error of every mean is within the tolerance: (rows,) from (passes, rows, outputs)."""
    error = standard_error(std_of_passes(values, mean_of_passes(values)), len(values))
    return np.asarray(error.max(axis=-1) <= tolerance)


def is_settled(probabilities: Float64, confidence: float) -> NDArray[np.bool_]:
    """Return whether the class with the highest mean is certain to lead: (rows,) from (passes, rows, classes).

    The test bets on the leader against each other class. If the other's true mean is equal or higher, a capital that
    starts at 1 and is multiplied by 1 + bet·(p_leader - p_other) at each pass is a supermartingale. By Ville's
    inequality it ever reaches 1/α with probability at most α, for any number of checks (Waudby-Smith & Ramdas 2024,
    "Estimating means of bounded random variables by betting"). α is 1 - confidence, divided among the other classes.
    """
    classes = probabilities.shape[-1]
    leader = mean_of_passes(probabilities).argmax(axis=-1)  # (rows,)
    leading = np.take_along_axis(probabilities, leader[None, :, None], axis=-1)  # (passes, rows, 1)
    lead = leading - probabilities  # (passes, rows, classes)
    log_capital = np.stack([np.log1p(bet * lead).sum(axis=0) for bet in BETS])  # (bets, rows, classes)
    log_mean = np.logaddexp.reduce(log_capital, axis=0) - np.log(len(BETS))  # (rows, classes)
    np.put_along_axis(log_mean, leader[:, None], np.inf, axis=-1)
    return np.asarray(log_mean.min(axis=-1) >= np.log((classes - 1) / (1 - confidence)))
