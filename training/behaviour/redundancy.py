"""Claim 4: what a network trained with dropout knows is spread over many units."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from service.masks import Float32, draw_masks
from service.sampling import ABLATION_STREAM
from training.behaviour.charts import PUBLISHED, STYLES, Curve, curves
from training.behaviour.claim import Claim, Finding, Plot, Table
from training.behaviour.networks import Network
from training.behaviour.served import Served, inputs_of, run_masked
from training.behaviour.settings import RATES, WITH, WITHOUT, Settings
from training.behaviour.statistics import CONFIDENCE, Mean, mean_of
from training.data import Part
from training.metrics import Float64
from training.svg import Axis

SHARES = np.linspace(0, 0.9, 10)
MUCH = 0.01
"""Accuracy that no single unit may cost: one point."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one network."""

    squashed: Float64
    """(shares,): accuracy, mean over the random sets."""
    losses: Float64
    """(units,): accuracy that is lost when only this one is removed."""


def redundancy(networks: Sequence[Network], published: Served | None, test: Part, settings: Settings) -> Claim:
    """Of networks of every p, and of a published one where there is one; `test` are its rows."""
    by_rate = {p: [measure(n.served, n.test, settings) for n in networks if n.p == p] for p in RATES}
    other = {published.title: measure(published, test, settings)} if published else {}
    return claim(by_rate, other, settings)


def claim(by_rate: Mapping[float, Sequence[Measured]], other: Mapping[str, Measured], settings: Settings) -> Claim:
    """What they say; networks of p = 0.5 against those of p = 0, paired by seed."""
    return Claim(
        "redundancy",
        "Dropout spreads knowledge over many units",
        "A network trained with dropout keeps answering rightly when many of its activations are squashed, better than"
        f" one trained without; and with p = {WITH:g} no single unit matters much: none costs more than {MUCH:g} of"
        " accuracy.",
        tuple(_findings(by_rate, other)),
        f"Networks of p = 0, 0.2 and 0.5 were trained with {settings.seeds} seeds each, on the same rows, and"
        " published. At every dropout site a random share of the units was then set to zero, the others left as they"
        f" are, through the masks of sample.onnx as the service's `ablate` does it: {settings.draws} random sets a"
        " share, the same for every network. Then every unit was removed alone"
        f" (at most {settings.units} a site). Accuracy on up to {settings.rows} test rows that the network had not"
        f" learned from, so that one row more or less is 1/{settings.rows} or more of it. That no unit of p = {WITH:g}"
        " matters much does not tell it from networks of other p: their worst units are told beside it and decide"
        " nothing. ± and whiskers: standard error over the seeds, which share the rows; bounds: Student's t of the"
        f" paired differences, {CONFIDENCE:.0%}, one-sided.",
        tables=(_squashed_table(by_rate, other), _units_table(by_rate, other)),
        plots=(
            Plot(
                "squashed.svg", "Accuracy as a random share of the activations is set to zero.", _curves(by_rate, other)
            ),
            Plot("units.svg", "How much accuracy single units cost when they are removed.", _losses(by_rate, other)),
        ),
    )


def measure(served: Served, test: Part, settings: Settings) -> Measured:
    """Squash random shares of a network's units, and then each alone."""
    squashed = [_accuracies(served, test, _random_sets(served, share, settings)).mean() for share in SHARES]
    alone = [_accuracies(served, test, masks) for masks in _one_by_one(served, settings)]
    return Measured(np.array(squashed), squashed[0] - np.concatenate(alone))


def _accuracies(served: Served, test: Part, masks: Sequence[Float32]) -> Float64:
    """(passes,): a mask each."""
    answers = run_masked(served, inputs_of(served, test.inputs), masks).argmax(axis=-1)  # (passes, rows)
    return np.asarray((answers == test.targets).mean(axis=1))


def _random_sets(served: Served, share: float, settings: Settings) -> list[Float32]:
    """For each site (draws, 1, *shape), 0 or 1; the first is what the service ablates of this share and seed."""
    sites = enumerate(served.manifest.sites)
    streams = ((ABLATION_STREAM + i, float(share), site.shape) for i, site in sites)
    return [
        np.sign(draw_masks(settings.seed, stream, p, shape, 0, settings.draws)).astype(np.float32)
        for stream, p, shape in streams
    ]


def _one_by_one(served: Served, settings: Settings) -> Iterator[list[Float32]]:
    """A site at a time, masks that keep all but one unit."""
    sites = served.manifest.sites
    for chosen, site in enumerate(sites):
        units = int(np.prod(site.shape))
        removed = np.unique(np.linspace(0, units - 1, min(units, settings.units)).round().astype(np.int64))
        masks = [np.ones((len(removed), 1, *each.shape), dtype=np.float32) for each in sites]
        masks[chosen].reshape(len(removed), units)[np.arange(len(removed)), removed] = 0
        yield masks


def _findings(by_rate: Mapping[float, Sequence[Measured]], other: Mapping[str, Measured]) -> Iterator[Finding]:
    pairs = list(zip(by_rate[WITH], by_rate[WITHOUT], strict=True))
    for what, shares in (("mean over 0 to 90 % squashed", slice(None)), ("at 50 % squashed", slice(5, 6))):
        difference = mean_of([(with_.squashed - without.squashed)[shares].mean() for with_, without in pairs])
        found = f"{difference}; above {difference.low:.4f}"
        yield Finding(f"accuracy {what}: p = {WITH:g} less p = {WITHOUT:g}", found, "bound above 0", difference.low > 0)
    for p, measured in by_rate.items():
        yield _worst(f"p = {p:g}", [float(m.losses.max()) for m in measured], decides=p == WITH)
    spared = mean_of([without.losses.max() - with_.losses.max() for with_, without in pairs])
    yield Finding(f"the same: p = {WITHOUT:g} less p = {WITH:g}", f"{spared}; above {spared.low:.4f}", "", None)
    for title, measured_one in other.items():
        yield _worst(title, [float(measured_one.losses.max())], decides=True)


def _worst(who: str, worst: Sequence[float], *, decides: bool) -> Finding:
    found = max(worst)
    wanted = f"at most {MUCH:g}" if decides else ""
    return Finding(
        f"accuracy lost by the worst single unit, {who}", f"{found:.4f}", wanted, found <= MUCH if decides else None
    )


def _mean_curve(measured: Sequence[Measured]) -> list[Mean]:
    return [mean_of([m.squashed[i] for m in measured]) for i in range(len(SHARES))]


def _curves(by_rate: Mapping[float, Sequence[Measured]], other: Mapping[str, Measured]) -> str:
    drawn = []
    for p, measured in by_rate.items():
        means = _mean_curve(measured)
        y, error = (np.array([getattr(mean, name) for mean in means]) for name in ("mean", "error"))
        drawn.append(Curve(f"p = {p:g}", STYLES[p], SHARES, y, error))
    drawn += [Curve(title, PUBLISHED, SHARES, m.squashed) for title, m in other.items()]
    return curves("Does it stand the loss of units?", Axis("share squashed", 0, 0.9), Axis("accuracy", 0, 1), drawn)


def _losses(by_rate: Mapping[float, Sequence[Measured]], other: Mapping[str, Measured]) -> str:
    pooled = {f"p = {p:g}": (STYLES[p], np.concatenate([m.losses for m in of])) for p, of in by_rate.items()}
    pooled |= {title: (PUBLISHED, m.losses) for title, m in other.items()}
    low = min(float(losses.min()) for _, losses in pooled.values())
    high = max(float(losses.max()) for _, losses in pooled.values())
    low, high = (low, high) if high > low else (low - 0.005, high + 0.005)
    drawn = [Curve(name, style, *_distribution(losses)) for name, (style, losses) in pooled.items()]
    x, y = Axis("accuracy lost by removing one unit", low, high), Axis("share of units that lose at most so much", 0, 1)
    return curves("Does any single unit matter?", x, y, drawn)


def _distribution(losses: Float64) -> tuple[Float64, Float64]:
    """The losses that there are, and the share of units that lose at most so much."""
    values, counts = np.unique(losses, return_counts=True)
    return values, np.cumsum(counts) / len(losses)


def _squashed_table(by_rate: Mapping[float, Sequence[Measured]], other: Mapping[str, Measured]) -> Table:
    columns = [_mean_curve(measured) for measured in by_rate.values()]
    rows = [
        (
            f"{share:.0%}",
            *(str(column[i]) for column in columns),
            *(f"{m.squashed[i]:.4f}" for m in other.values()),
        )
        for i, share in enumerate(SHARES)
    ]
    return Table(
        "Accuracy with a random share of all activations squashed.", ("squashed", *_titles(by_rate, other)), rows
    )


def _units_table(by_rate: Mapping[float, Sequence[Measured]], other: Mapping[str, Measured]) -> Table:
    pooled = {f"p = {p:g}": np.concatenate([m.losses for m in of]) for p, of in by_rate.items()}
    pooled |= {title: m.losses for title, m in other.items()}
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
        for title, losses in pooled.items()
    ]
    header = ("network", "units", "mean loss", "deviation", "99 % lose at most", "worst", "cost nothing")
    return Table("Accuracy lost when one unit is removed; all seeds together.", header, rows)


def _titles(by_rate: Mapping[float, Sequence[Measured]], other: Mapping[str, Measured]) -> list[str]:
    return [*(f"p = {p:g}" for p in by_rate), *other]
