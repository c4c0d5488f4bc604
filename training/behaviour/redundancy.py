"""Claim 4: a network trained with dropout distributes its knowledge over many units."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from service.engine.masks import Float32, draw_masks
from service.engine.sampling import ABLATION_STREAM
from training.behaviour.bounds import BOUNDS, above, bounded
from training.behaviour.charts import Curve, curves, rounded_up, styles
from training.behaviour.claim import Claim, Finding, Plot, Table
from training.behaviour.groups import Groups, measure_all
from training.behaviour.networks import Network
from training.behaviour.scores import Score
from training.behaviour.served import Served, inputs_of, run_masked
from training.behaviour.settings import WITH, WITHOUT, Settings
from training.behaviour.statistics import Mean, mean_of
from training.data import Part
from training.evidence.metrics import Float64
from training.evidence.svg import Axis

SHARES = np.linspace(0, 0.9, 10)
"""Shares of the units that are set to zero."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Results for one network."""

    squashed: Float64
    """(shares,): the score, mean over the random sets."""
    losses: Float64
    """(units,): the loss of score when only this unit is removed."""


def redundancy(
    networks: Sequence[Network], published: Served | None, test: Part, score: Score, settings: Settings
) -> Claim:
    """Return the claim on networks of every p, and on a published one if given; `test` are the latter's rows."""
    found = measure_all(lambda served, rows: measure(served, rows, score, settings), networks, published, test)
    return claim(found, score, settings)


def claim(found: Groups[Measured], score: Score, settings: Settings) -> Claim:
    """Return the claim of these results; networks of p = 0.5 against those of p = 0, paired by seed."""
    return Claim(
        "redundancy",
        "Dropout spreads knowledge over many units",
        f"When many of its activations are squashed, a network trained with dropout has a better {score.name} than one"
        f" trained without; and with p = {WITH:g} no single unit matters much: none costs more than {score.much:g}"
        f" of {score.name}.",
        tuple(_findings(found, score)),
        f"Networks of p = 0, 0.2 and 0.5 were trained with {settings.seeds} seeds each, on the same rows, and"
        " published. At every dropout site a random share of the units was then set to zero, the others unchanged,"
        f" through the masks of sample.onnx as the service's `ablate` does it: {settings.draws} random sets a"
        " share, the same for every network. Then every unit was removed alone"
        f" (at most {settings.units} a site). All on up to {settings.rows} test rows that the network had not"
        f" learned from. That no unit of p = {WITH:g} matters much does not distinguish it from networks of other"
        " p: their worst units are reported without a verdict; that of a published model counts, though it is one"
        f" network. ± and whiskers: standard error over the seeds. {BOUNDS}",
        tables=(_squashed_table(found, score), _units_table(found, score)),
        plots=(
            Plot(
                "squashed.svg",
                f"{score.name} as a random share of the activations is set to zero.",
                _curves(found, score),
            ),
            Plot("units.svg", f"How much {score.name} the removal of single units costs.", _losses(found, score)),
        ),
    )


def measure(served: Served, test: Part, score: Score, settings: Settings) -> Measured:
    """Remove random shares of a network's units, and then each unit alone."""
    squashed = [_scores(served, test, score, _random_sets(served, share, settings)).mean() for share in SHARES]
    alone = [_scores(served, test, score, masks) for masks in _one_by_one(served, settings)]
    return Measured(np.array(squashed), score.lost(squashed[0], np.concatenate(alone)))


def _scores(served: Served, test: Part, score: Score, masks: Sequence[Float32]) -> Float64:
    """Return the score with each mask: (passes,)."""
    return score.of(run_masked(served, inputs_of(served, test.inputs), masks), test.targets)


def _random_sets(served: Served, share: float, settings: Settings) -> list[Float32]:
    """Return for each site masks (draws, 1, *shape), 0 or 1; the first is the service's ablation of this share and
    seed.
    """
    sites = enumerate(served.manifest.sites)
    streams = ((ABLATION_STREAM + i, float(share), site.shape) for i, site in sites)
    return [
        np.sign(draw_masks(settings.seed, stream, p, shape, 0, settings.draws)).astype(np.float32)
        for stream, p, shape in streams
    ]


def _one_by_one(served: Served, settings: Settings) -> Iterator[list[Float32]]:
    """Yield for each site masks that keep all but one unit."""
    sites = served.manifest.sites
    for chosen, site in enumerate(sites):
        units = int(np.prod(site.shape))
        removed = np.unique(np.linspace(0, units - 1, min(units, settings.units)).round().astype(np.int64))
        masks = [np.ones((len(removed), 1, *each.shape), dtype=np.float32) for each in sites]
        masks[chosen].reshape(len(removed), units)[np.arange(len(removed)), removed] = 0
        yield masks


def _findings(found: Groups[Measured], score: Score) -> Iterator[Finding]:
    pairs = list(zip(found.by_rate[WITH], found.by_rate[WITHOUT], strict=True))
    for what, shares in (("mean over 0 to 90 % squashed", slice(None)), ("at 50 % squashed", slice(5, 6))):
        gained = [float(score.lost(with_.squashed, without.squashed)[shares].mean()) for with_, without in pairs]
        yield above(f"{score.name} {what}: gain of p = {WITH:g} over p = {WITHOUT:g}", gained)
    for p, measured in found.by_rate.items():
        yield _worst(f"p = {p:g}", [float(m.losses.max()) for m in measured], score, decides=p == WITH)
    spared = mean_of([without.losses.max() - with_.losses.max() for with_, without in pairs])
    yield Finding(f"the same: p = {WITHOUT:g} minus p = {WITH:g}", bounded(spared), "")
    for title, measured_one in found.published.items():
        yield _worst(title, [float(measured_one.losses.max())], score, decides=True)


def _worst(title: str, worst: Sequence[float], score: Score, *, decides: bool) -> Finding:
    found, wanted = max(worst), f"at most {score.much:g}" if decides else ""
    holds = found <= score.much if decides else None
    return Finding(f"{score.name} lost by the worst single unit, {title}", f"{found:.4f}", wanted, holds)


def _mean_curve(measured: Sequence[Measured]) -> list[Mean]:
    return [mean_of([m.squashed[i] for m in measured]) for i in range(len(SHARES))]


def _curves(found: Groups[Measured], score: Score) -> str:
    drawn = []
    for (name, measured), style in zip(found.named().items(), styles(found), strict=True):
        means = _mean_curve(measured)
        y, error = (np.array([getattr(mean, field) for mean in means]) for field in ("mean", "error"))
        drawn.append(Curve(name, style, SHARES, y, error))
    highest = 1.0 if score.sign > 0 else rounded_up(max(float(curve.y.max()) for curve in drawn))
    axes = Axis("share squashed", 0, 0.9), Axis(score.name, 0, highest)
    return curves("Score without a share of units", *axes, drawn)


def _pooled(found: Groups[Measured]) -> dict[str, Float64]:
    return {name: np.concatenate([m.losses for m in of]) for name, of in found.named().items()}


def _losses(found: Groups[Measured], score: Score) -> str:
    pooled = _pooled(found)
    everything = np.concatenate(list(pooled.values()))
    low, high = float(everything.min()), float(everything.max())
    low, high = (low, high) if high > low else (low - 0.005, high + 0.005)
    drawn = [
        Curve(name, style, *_distribution(losses))
        for (name, losses), style in zip(pooled.items(), styles(found), strict=True)
    ]
    x, y = (
        Axis(f"{score.name} lost by removing one unit", low, high),
        Axis("share of units that lose at most this", 0, 1),
    )
    return curves("Loss by removing one unit", x, y, drawn)


def _distribution(losses: Float64) -> tuple[Float64, Float64]:
    """Return the different losses, and the share of units that lose at most each."""
    values, counts = np.unique(losses, return_counts=True)
    return values, np.cumsum(counts) / len(losses)


def _squashed_table(found: Groups[Measured], score: Score) -> Table:
    columns = [_mean_curve(measured) for measured in found.named().values()]
    rows = [(f"{share:.0%}", *(str(column[i]) for column in columns)) for i, share in enumerate(SHARES)]
    header = ("squashed", *found.named())
    return Table(f"{score.name} with a random share of all activations squashed.", header, rows)


def _units_table(found: Groups[Measured], score: Score) -> Table:
    rows = [
        (
            title,
            f"{len(losses):,}",
            f"{losses.mean():.5f}",
            f"{losses.std():.5f}",
            f"{np.quantile(losses, 0.99):.4f}",
            f"{losses.max():.4f}",
            f"{(losses == 0).mean():.1%}",
        )
        for title, losses in _pooled(found).items()
    ]
    header = ("network", "units", "mean loss", "deviation", "99 % lose at most", "worst", "cost nothing")
    return Table(f"{score.name} lost when one unit is removed; all seeds together.", header, rows)
