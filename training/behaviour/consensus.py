"""Claim 6: the average of many thinned networks is better than they are, and their disagreement tells of errors."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from service.sampling import Sampling
from service.uncertainty import summarise_classes
from training.behaviour.charts import PUBLISHED, STYLES, Curve, curves, rounded_up
from training.behaviour.claim import Claim, Finding, Plot, Table
from training.behaviour.networks import Network
from training.behaviour.served import Served, inputs_of
from training.behaviour.settings import RATES, WITH, WITHOUT, Settings
from training.behaviour.statistics import CONFIDENCE, Mean, mean_of
from training.data import Part
from training.metrics import Bool, Float64
from training.metrics.classes import accuracy, nll, right
from training.metrics.detection import auroc
from training.svg import Axis

SIZES = (1, 2, 5, 10, 20, 50, 100, 200)
PARTS = 10
"""Of the rows, by how far the thinned networks disagree."""
NEAR = 0.01
"""Accuracy by which weight scaling may differ from the consensus: one point."""
DOUBTS = {"mutual information": "mutual_information", "variation ratio": "variation_ratio"}


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one network."""

    sizes: Float64
    """(sizes,): passes of an ensemble."""
    accuracy: Float64
    """(sizes,): mean over the disjoint ensembles of that size."""
    nll: Float64
    scaled_accuracy: float
    """Of weight scaling: one pass without dropout."""
    scaled_nll: float
    wrong: Bool
    """(rows,): whether the consensus of all passes is."""
    doubts: dict[str, Float64]
    """(rows,): disagreement of the thinned networks."""

    def detection(self, doubt: str) -> float:
        """AUROC: how often a wrong answer is doubted more than a right one; NaN where none is wrong."""
        return auroc(self.wrong, self.doubts[doubt])


def consensus(networks: Sequence[Network], published: Served | None, test: Part, settings: Settings) -> Claim:
    """Of networks of every p, and of a published one where there is one; `test` are its rows."""
    by_rate = {p: [measure(n.served, n.test, settings) for n in networks if n.p == p] for p in RATES}
    other = {published.title: measure(published, test, settings)} if published else {}
    return claim(by_rate, other, settings)


def claim(by_rate: Mapping[float, Sequence[Measured]], other: Mapping[str, Measured], settings: Settings) -> Claim:
    """What they say; the networks of p = 0.5 decide."""
    return Claim(
        "consensus",
        "The consensus of thinned networks is better than they are",
        "The average of many thinned networks is more often right, and less surprised at the truth, than a single one;"
        " one pass with the weights as they are comes near it; and where the thinned networks disagree, the answer is"
        " more often wrong.",
        tuple(_findings(by_rate[WITH], other)),
        f"Each network was asked through the service's engine for {settings.passes} thinned networks, with the same"
        " masks for every row. An ensemble of T averages the probabilities of T of them; figures are means over the"
        f" {settings.passes} ÷ T ensembles that share no pass. Disagreement is measured by mutual information (BALD)"
        " and by the variation ratio, of all passes; AUROC is how often a wrong answer has more of it than a right one."
        " Networks of the report have temperature 1; a published model answers as it was calibrated. ± and whiskers:"
        f" standard error over {settings.seeds} seeds; bounds: Student's t, {CONFIDENCE:.0%}; what is told of a"
        " published model is of one network, and decides nothing.",
        tables=(_sizes_table(by_rate, other), _parts_table(by_rate[WITH], other)),
        plots=(
            Plot("consensus_accuracy.svg", *_plot_sizes(by_rate, other, "accuracy", "accuracy")),
            Plot("consensus_nll.svg", *_plot_sizes(by_rate, other, "nll", "NLL (nats)")),
            Plot("disagreement.svg", *_plot_parts(by_rate[WITH], other)),
        ),
    )


def measure(served: Served, test: Part, settings: Settings) -> Measured:
    """Ask a network's engine."""
    inputs, targets, engine = inputs_of(served, test.inputs), test.targets.astype(np.int64), served.engine
    samples = engine.sampled_values(engine.draw_all(inputs, Sampling(settings.passes, settings.seed)))
    sizes = [size for size in SIZES if size < settings.passes] + [settings.passes]
    ensembles = {size: list(_ensembles(samples, size)) for size in sizes}  # each (rows, classes)
    scaled, uncertainty = engine.predict(inputs).values, summarise_classes(samples)
    return Measured(
        np.array(sizes, dtype=np.float64),
        np.array([np.mean([accuracy(one, targets) for one in of]) for of in ensembles.values()]),
        np.array([np.mean([nll(one, targets) for one in of]) for of in ensembles.values()]),
        accuracy(scaled, targets),
        nll(scaled, targets),
        ~right(uncertainty.mean, targets),
        {name: getattr(uncertainty, field) for name, field in DOUBTS.items()},
    )


def _ensembles(samples: Float64, size: int) -> Iterator[Float64]:
    """Averages of passes (passes, rows, classes), so many each, none twice."""
    for first in range(0, len(samples) - size + 1, size):
        yield samples[first : first + size].mean(axis=0)


def _findings(measured: Sequence[Measured], other: Mapping[str, Measured]) -> Iterator[Finding]:
    passes = int(measured[0].sizes[-1])
    who = f"p = {WITH:g}"
    yield _above(
        f"{who}: accuracy of {passes} together less that of one", [m.accuracy[-1] - m.accuracy[0] for m in measured]
    )
    yield _above(f"{who}: NLL of one less that of {passes} together", [m.nll[0] - m.nll[-1] for m in measured])
    told = mean_of([m.accuracy[-1] - m.scaled_accuracy for m in measured])
    farthest = abs(told.mean) + (told.mean - told.low)
    what = f"{who}: accuracy of {passes} together less that of weight scaling"
    yield Finding(what, f"{told}; within {farthest:.4f}", f"within {NEAR:g}", farthest <= NEAR)
    told = mean_of([m.scaled_nll - m.nll[-1] for m in measured])
    yield Finding(f"{who}: NLL of weight scaling less that of {passes} together", str(told), "")
    for doubt in DOUBTS:
        found = mean_of([m.detection(doubt) for m in measured])
        text = f"{found}; above {found.low:.4f}" if np.isfinite(found.mean) else "no answer was wrong"
        yield Finding(f"{who}: AUROC of {doubt} for wrong answers", text, "bound above 0.5", found.low > 0.5)
    for title, m in other.items():
        yield Finding(
            f"{title}: accuracy of {passes} together less that of one", f"{m.accuracy[-1] - m.accuracy[0]:.4f}", ""
        )
        yield Finding(f"{title}: NLL of one less that of {passes} together", f"{m.nll[0] - m.nll[-1]:.4f}", "")
        for doubt in DOUBTS:
            yield Finding(f"{title}: AUROC of {doubt} for wrong answers", f"{m.detection(doubt):.4f}", "")


def _above(what: str, differences: Sequence[float]) -> Finding:
    found = mean_of(differences)
    return Finding(what, f"{found}; above {found.low:.4f}", "bound above 0", found.low > 0)


def _column(measured: Sequence[Measured], of: Callable[[Measured], Float64]) -> list[Mean]:
    """(sizes,): of a figure of ensembles."""
    return [mean_of(values) for values in np.array([of(m) for m in measured]).T]


def _sizes_table(by_rate: Mapping[float, Sequence[Measured]], other: Mapping[str, Measured]) -> Table:
    groups = {f"p = {p:g}": list(by_rate[p]) for p in RATES if p != WITHOUT} | {
        title: [m] for title, m in other.items()
    }
    sizes = next(iter(groups.values()))[0].sizes
    cells = {title: (_column(of, lambda m: m.accuracy), _column(of, lambda m: m.nll)) for title, of in groups.items()}
    rows = [
        (f"{size:.0f} thinned", *(_told(column[i], groups[title]) for title in groups for column in cells[title]))
        for i, size in enumerate(sizes)
    ]
    scaled = [(mean_of([m.scaled_accuracy for m in of]), mean_of([m.scaled_nll for m in of])) for of in groups.values()]
    rows.append(
        ("weight scaling", *(_told(m, of) for pair, of in zip(scaled, groups.values(), strict=True) for m in pair))
    )
    without = by_rate[WITHOUT]
    alone = mean_of([m.scaled_accuracy for m in without]), mean_of([m.scaled_nll for m in without])
    header = ("ensemble", *(f"{title}: {figure}" for title in groups for figure in ("accuracy", "NLL")))
    caption = f"Trained without dropout, beside these: accuracy {alone[0]}, NLL {alone[1]}."
    return Table(caption, header, rows)


def _told(mean: Mean, of: Sequence[Measured]) -> str:
    return str(mean) if len(of) > 1 else f"{mean.mean:.4f}"


def error_by_part(measured: Sequence[Measured], doubt: str) -> tuple[Float64, Float64]:
    """Each (parts,): share that is wrong of a tenth of the rows, the least doubted first, and its standard error.

    Rows of the same doubt count as in random order: each with the mean of them.
    """
    doubts, wrong = [], []
    for m in measured:
        values = m.doubts[doubt]
        _, group, count = np.unique(values, return_inverse=True, return_counts=True)
        order = np.argsort(values, kind="stable")
        doubts.append(np.arange(len(values)) / len(values))
        wrong.append((np.bincount(group, weights=m.wrong) / count)[group][order])
    place = np.minimum((np.concatenate(doubts) * PARTS).astype(np.int64), PARTS - 1)
    rows = np.bincount(place, minlength=PARTS)
    share = np.bincount(place, weights=np.concatenate(wrong), minlength=PARTS) / rows
    return share, np.sqrt(share * (1 - share) / rows)


def _parts_table(measured: Sequence[Measured], other: Mapping[str, Measured]) -> Table:
    groups = {f"p = {WITH:g}": list(measured)} | {title: [m] for title, m in other.items()}
    columns = {f"{title}: {doubt}": error_by_part(of, doubt) for title, of in groups.items() for doubt in DOUBTS}
    rows = [
        (f"{i + 1} of {PARTS}", *(f"{share[i]:.4f} ± {error[i]:.4f}" for share, error in columns.values()))
        for i in range(PARTS)
    ]
    caption = (
        "Share of wrong answers by tenth of the test rows, from least to most disagreement; rows of all seeds together."
    )
    return Table(caption, ("tenth", *columns), rows)


def _plot_sizes(
    by_rate: Mapping[float, Sequence[Measured]], other: Mapping[str, Measured], field: str, name: str
) -> tuple[str, str]:
    """Caption and chart."""
    drawn, values = [], []
    for p in RATES[1:]:
        means = _column(by_rate[p], lambda m: getattr(m, field))
        y, error = np.array([mean.mean for mean in means]), np.array([mean.error for mean in means])
        x = np.log10(by_rate[p][0].sizes)
        drawn.append(Curve(f"p = {p:g}", STYLES[p], x, y, error))
        scaled = float(np.mean([getattr(m, f"scaled_{field}") for m in by_rate[p]]))
        drawn.append(Curve("", f"{STYLES[p]} faint", x[[0, -1]], np.full(2, scaled)))
        values += [*(y + np.nan_to_num(error)), *(y - np.nan_to_num(error)), scaled]
    for title, m in other.items():
        drawn.append(Curve(title, PUBLISHED, np.log10(m.sizes), getattr(m, field)))
        values += list(getattr(m, field))
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.01
    x_axis = Axis("thinned networks in the ensemble", 0, float(drawn[0].x[-1]), log=True)
    caption = f"{name} of ensembles by size; the level faint lines are weight scaling."
    title = "Is the consensus right more often?" if field == "accuracy" else "Is it less surprised at the truth?"
    return caption[0].upper() + caption[1:], curves(title, x_axis, Axis(name, low - margin, high + margin), drawn)


def _plot_parts(measured: Sequence[Measured], other: Mapping[str, Measured]) -> tuple[str, str]:
    """Caption and chart."""
    x, (share, error) = np.arange(1.0, PARTS + 1), error_by_part(measured, "mutual information")
    ratio, ratio_error = error_by_part(measured, "variation ratio")
    drawn = [
        Curve("by MI", "s1", x, share, error),
        Curve("by votes", "s0", x, ratio, ratio_error),
        *(Curve(title, PUBLISHED, x, error_by_part([m], "mutual information")[0]) for title, m in other.items()),
    ]
    highest = max(float((share + error).max()), float((ratio + ratio_error).max()), *(float(c.y.max()) for c in drawn))
    caption = f"Share of wrong answers by tenth of the rows, from least to most disagreement: p = {WITH:g} by mutual"
    caption += " information (MI) and by variation ratio (votes), a published model by the former."
    axes = Axis("tenth of the rows, by disagreement", 1, PARTS), Axis("share wrong", 0, rounded_up(highest))
    return caption, curves("Does disagreement tell of errors?", *axes, drawn)
