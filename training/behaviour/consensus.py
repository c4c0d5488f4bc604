"""Claim 6: the average of many thinned networks is better than each of them, and their disagreement predicts errors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from service.engine.sampling import Sampling
from training.behaviour.bounds import BOUNDS, above, within
from training.behaviour.claim import Claim, Finding, Plot
from training.behaviour.disagreement import (
    Disagreement,
    detector,
    measure_disagreement,
    parts_table,
    plot_parts,
)
from training.behaviour.ensembles import Ensembles, measure_ensembles, plot_nll, plot_score, sizes_table
from training.behaviour.groups import Groups, measure_all
from training.behaviour.networks import Network
from training.behaviour.scores import Score
from training.behaviour.served import Served, inputs_of
from training.behaviour.settings import WITH, Settings
from training.behaviour.statistics import mean_of
from training.data import Part


@dataclass(frozen=True, slots=True)
class Measured:
    """Results for one network."""

    ensembles: Ensembles
    disagreement: Disagreement


def consensus(
    networks: Sequence[Network], published: Served | None, test: Part, score: Score, settings: Settings
) -> Claim:
    """Return the claim on networks of every p, and on a published one if given; `test` are the latter's rows."""
    found = measure_all(lambda served, rows: measure(served, rows, score, settings), networks, published, test)
    return claim(found, score, settings)


def measure(served: Served, test: Part, score: Score, settings: Settings) -> Measured:
    """Measure a network through its engine."""
    inputs, engine = inputs_of(served, test.inputs), served.engine
    samples = engine.sampled_values(engine.draw_all(inputs, Sampling(settings.passes, settings.seed)))
    return Measured(
        measure_ensembles(engine, inputs, samples, test, score), measure_disagreement(engine, samples, test, score)
    )


def claim(found: Groups[Measured], score: Score, settings: Settings) -> Claim:
    """Return the claim of these results; the networks of p = 0.5 decide."""
    ensembles = Groups(
        {p: [m.ensembles for m in of] for p, of in found.by_rate.items()},
        {title: m.ensembles for title, m in found.published.items()},
    )
    disagreement = Groups(
        {p: [m.disagreement for m in of] for p, of in found.by_rate.items()},
        {title: m.disagreement for title, m in found.published.items()},
    )
    return Claim(
        "consensus",
        "The consensus of thinned networks is better than each of them",
        f"The average of many thinned networks has a better {score.name} and NLL"
        " than a single one; the deterministic pass is close to it; and where the thinned networks"
        f" disagree, the answer is {'more often wrong' if score.sign > 0 else 'farther off'}.",
        (*_findings(found.by_rate[WITH], score), *_of_published(found, score)),
        f"Each network was sampled through the service's engine, {settings.passes} samples a row, with the same"
        f" masks for every row. {_how(score)} Figures are means over the {settings.passes} ÷ T disjoint"
        f" ensembles. ± and whiskers: standard error over {settings.seeds} seeds. {BOUNDS} The findings on a published"
        " model are of one network, and do not count for the verdict.",
        tables=(sizes_table(ensembles, score), parts_table(disagreement, score)),
        plots=(
            Plot("consensus_score.svg", *plot_score(ensembles, score)),
            Plot("consensus_nll.svg", *plot_nll(ensembles)),
            Plot("disagreement.svg", *plot_parts(disagreement, score)),
        ),
    )


def _how(score: Score) -> str:
    if score.sign > 0:
        return (
            "An ensemble of T averages the probabilities of T samples. That its NLL is no worse than theirs follows"
            " from the concave logarithm; the size of the gain does not. Disagreement is measured by mutual"
            " information (BALD) and by the variation ratio, of all passes; AUROC is how often it is higher for"
            " a wrong answer than for a right one. Networks of the report have temperature 1; a published model has its"
            " calibrated temperature."
        )
    return (
        "An ensemble of T averages the values of T samples, and its NLL is that of the equal mixture of T normal"
        " densities with the fitted or learned noise. That it is no worse than a single one follows from the"
        " convex square and the concave logarithm; the size of the gain does not. Disagreement is the standard"
        " deviation of the values over all samples."
    )


def _findings(measured: Sequence[Measured], score: Score) -> Iterator[Finding]:
    ensembles = [m.ensembles for m in measured]
    passes, title = int(ensembles[0].sizes[-1]), f"p = {WITH:g}"
    better = [float(score.lost(of.score[-1], of.score[0])) for of in ensembles]
    yield above(f"{title}: {score.name} of {passes} together, gain over one", better)
    yield above(
        f"{title}: NLL of one minus that of {passes} together", [float(of.nll[0] - of.nll[-1]) for of in ensembles]
    )
    apart = [float(of.score[-1] - of.scaled_score) for of in ensembles]
    yield within(f"{title}: {score.name} of {passes} together minus that of weight scaling", apart, score.much)
    gain = mean_of([of.scaled_nll - of.nll[-1] for of in ensembles])
    yield Finding(f"{title}: NLL of weight scaling minus that of {passes} together", str(gain), "")
    what, chance = detector(score)
    for measure in measured[0].disagreement.measures:
        yield above(f"{title}: {measure}: {what}", [m.disagreement.detection(measure, score) for m in measured], chance)


def _of_published(found: Groups[Measured], score: Score) -> Iterator[Finding]:
    what, _ = detector(score)
    for title, m in found.published.items():
        of, passes = m.ensembles, int(m.ensembles.sizes[-1])
        better = float(score.lost(of.score[-1], of.score[0]))
        yield Finding(f"{title}: {score.name} of {passes} together, gain over one", f"{better:.4f}", "")
        yield Finding(f"{title}: NLL of one minus that of {passes} together", f"{of.nll[0] - of.nll[-1]:.4f}", "")
        for measure in m.disagreement.measures:
            yield Finding(f"{title}: {measure}: {what}", f"{m.disagreement.detection(measure, score):.4f}", "")
