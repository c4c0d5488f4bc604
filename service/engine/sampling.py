"""What to ask of the thinned networks: how many, which, and with what of them changed; and when to stop asking.

Stopping is decided for each row by itself, so that a row's answer does not depend on its batch-mates.
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
"""Fewer passes say too little of their own spread."""

BETS = np.linspace(0.1, 0.9, 9)
"""Shares of the capital that are bet in `is_settled`; what is won is their mean."""

ABLATION_STREAM = 2**32
"""Added to a site's number, so that the units ablated are not those dropped."""


@dataclass(frozen=True, slots=True)
class StopRule:
    """Stop before all passes are drawn, once one of these holds; None asks for no such thing."""

    tolerance: float | None = None
    """Largest standard error of a mean: of every class's probability, or of a regression's every answer."""
    confidence: float | None = None
    """That the class which leads now leads in truth."""


@dataclass(frozen=True, slots=True)
class Ablation:
    """Units of a site that are zero in every pass."""

    site: int
    units: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sampling:
    """A question to the thinned networks. The same question always gets the same answer."""

    passes: int
    """How many to ask, or with a stop rule how many at most."""
    seed: int
    """Which ones."""
    stop: StopRule | None = None
    dropout_rate: float | None = None
    """p at every site, in the place of the p trained with."""
    ablations: tuple[Ablation, ...] = ()
    quantiles: tuple[float, ...] = ()
    """Of the samples, to be told."""
    keep_samples: bool = False
    """Every network's values, to be told."""

    def looks(self) -> Iterator[int]:
        """After how many passes to look whether to stop: 16, 32, 48, 72, … and at the last."""
        look = FIRST_LOOK
        while self.stop and look < self.passes:
            yield look
            look += max(FIRST_LOOK, look // 2)
        yield self.passes

    def stops(self, values: Float64) -> NDArray[np.str_]:
        """Why to ask no more about each row, or "" where to go on: (passes, rows, outputs) → (rows,).

        `tolerance` and `confidence` are those of the stop rule; `max`: all passes were drawn.
        """
        passes, rows, _ = values.shape
        reasons = np.full(rows, "max" if passes == self.passes else "", dtype="<U10")
        if self.stop and self.stop.confidence is not None:
            reasons[is_settled(values, self.stop.confidence)] = "confidence"
        if self.stop and self.stop.tolerance is not None and passes > 1:
            reasons[is_precise(values, self.stop.tolerance)] = "tolerance"
        return reasons

    def sites(self, manifest: Manifest) -> tuple[DropoutSite, ...]:
        """The model's dropout sites, with the rate asked for; raises InvalidInput where it cannot be changed."""
        if self.dropout_rate is None:
            return manifest.sites
        if alpha := [site.name for site in manifest.sites if site.kind == "alpha"]:
            raise InvalidInput(
                f"dropout_rate: cannot be changed at {alpha[0]}: alpha dropout has its rate in the graph",
                field="dropout_rate",
            )
        return tuple(site.model_copy(update={"p": self.dropout_rate}) for site in manifest.sites)

    def ablate(self, masks: Sequence[Float32]) -> list[Float32]:
        """Masks (passes, 1, …) of each site, with the ablated units zero."""
        changed = list(masks)
        for ablation in self.ablations:
            mask = changed[ablation.site].copy()
            flat = mask.reshape(len(mask), -1)  # (passes, units)
            flat[:, np.array(ablation.units, dtype=np.intp)] = 0
            changed[ablation.site] = mask
        return changed

    @property
    def changes_network(self) -> bool:
        """Whether other networks are asked than those that were trained: what is known of these does not hold."""
        return self.dropout_rate is not None or bool(self.ablations)


def share_of_units(seed: int, site: int, fraction: float, shape: Sequence[int]) -> tuple[int, ...]:
    """About this fraction of a site's units, chosen by the seed, and not as the dropped ones are."""
    drawn = draw_masks(seed, ABLATION_STREAM + site, fraction, shape, 0, 1)
    return tuple(np.flatnonzero(drawn.ravel() == 0).tolist())


def is_precise(values: Float64, tolerance: float) -> NDArray[np.bool_]:
    """Whether every mean's standard error is within the tolerance: (passes, rows, outputs) → (rows,)."""
    error = standard_error(std_of_passes(values, mean_of_passes(values)), len(values))
    return np.asarray(error.max(axis=-1) <= tolerance)


def is_settled(probabilities: Float64, confidence: float) -> NDArray[np.bool_]:
    """Whether the class with the highest mean leads in truth: (passes, rows, classes) → (rows,).

    Bets on the leader against each other class. Where their true means are equal or the other way round, a
    capital that starts at 1 and grows by the factor 1 + bet·(p_leader - p_other) at each pass is a
    supermartingale, and by Ville's inequality it reaches 1/α ever, at however many looks, with
    probability α at most (Waudby-Smith & Ramdas 2024, "Estimating means of bounded random variables by
    betting"). α is 1 - confidence, divided among the classes that could be wronged.
    """
    classes = probabilities.shape[-1]
    leader = mean_of_passes(probabilities).argmax(axis=-1)  # (rows,)
    leading = np.take_along_axis(probabilities, leader[None, :, None], axis=-1)  # (passes, rows, 1)
    lead = leading - probabilities  # (passes, rows, classes)
    log_capital = np.stack([np.log1p(bet * lead).sum(axis=0) for bet in BETS])  # (bets, rows, classes)
    log_mean = np.logaddexp.reduce(log_capital, axis=0) - np.log(len(BETS))  # (rows, classes)
    np.put_along_axis(log_mean, leader[:, None], np.inf, axis=-1)
    return np.asarray(log_mean.min(axis=-1) >= np.log((classes - 1) / (1 - confidence)))
