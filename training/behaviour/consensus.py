"""Claim 6: the average of many thinned networks is better than they are, and their disagreement tells of errors."""

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
    """Of one network."""

    ensembles: Ensembles
    disagreement: Disagreement


def consensus(
    networks: Sequence[Network], published: Served | None, test: Part, score: Score, settings: Settings
) -> Claim:
    """Of networks of every p, and of a published one where there is one; `test` are its rows."""
    found = measure_all(lambda served, rows: measure(served, rows, score, settings), networks, published, test)
    return claim(found, score, settings)


def measure(served: Served, test: Part, score: Score, settings: Settings) -> Measured:
    """Ask a network's engine."""
    inputs, engine = inputs_of(served, test.inputs), served.engine
    samples = engine.sampled_values(engine.draw_all(inputs, Sampling(settings.passes, settings.seed)))
    return Measured(
        measure_ensembles(engine, inputs, samples, test, score), measure_disagreement(engine, samples, test, score)
    )


def claim(found: Groups[Measured], score: Score, settings: Settings) -> Claim:
    """What they say; the networks of p = 0.5 decide."""
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
        "The consensus of thinned networks is better than they are",
        f"The average of many thinned networks has a better {score.name}, and is less surprised at the truth (NLL),"
        " than a single one; one pass with the weights as they are comes near it; and where the thinned networks"
        f" disagree, the answer is {'more often wrong' if score.sign > 0 else 'farther off'}.",
        (*_findings(found.by_rate[WITH], score), *_told(found, score)),
        f"Each network was asked through the service's engine for {settings.passes} thinned networks, with the same"
        f" masks for every row. {_how(score)} Figures are means over the {settings.passes} ÷ T ensembles that share no"
        f" pass. ± and whiskers: standard error over {settings.seeds} seeds. {BOUNDS} What is told of a published model"
        " is of one network, and decides nothing.",
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
            "An ensemble of T averages the probabilities of T of them. That its NLL is no worse than theirs follows"
            " from the logarithm's shape; how much better it is does not. Disagreement is measured by mutual"
            " information (BALD) and by the variation ratio, of all passes; AUROC is how often a wrong answer has more"
            " of it than a right one. Networks of the report have temperature 1; a published model answers as it was"
            " calibrated."
        )
    return (
        "An ensemble of T averages the values of T of them, and its NLL is that of the equal mixture of T normal"
        " densities with the noise that was fitted or learned. That it is no worse than a single one follows from the"
        " shape of the square and the logarithm; how much better it is does not. Disagreement is the standard"
        " deviation of the values over all passes."
    )


def _findings(measured: Sequence[Measured], score: Score) -> Iterator[Finding]:
    ensembles = [m.ensembles for m in measured]
    passes, who = int(ensembles[0].sizes[-1]), f"p = {WITH:g}"
    better = [float(score.lost(of.score[-1], of.score[0])) for of in ensembles]
    yield above(f"{who}: {score.name} of {passes} together better than that of one by", better)
    yield above(
        f"{who}: NLL of one less that of {passes} together", [float(of.nll[0] - of.nll[-1]) for of in ensembles]
    )
    apart = [float(of.score[-1] - of.scaled_score) for of in ensembles]
    yield within(f"{who}: {score.name} of {passes} together less that of weight scaling", apart, score.much)
    told = mean_of([of.scaled_nll - of.nll[-1] for of in ensembles])
    yield Finding(f"{who}: NLL of weight scaling less that of {passes} together", str(told), "")
    what, chance = detector(score)
    for doubt in measured[0].disagreement.doubts:
        yield above(f"{who}: {doubt}: {what}", [m.disagreement.detection(doubt, score) for m in measured], chance)


def _told(found: Groups[Measured], score: Score) -> Iterator[Finding]:
    what, _ = detector(score)
    for title, m in found.published.items():
        of, passes = m.ensembles, int(m.ensembles.sizes[-1])
        better = float(score.lost(of.score[-1], of.score[0]))
        yield Finding(f"{title}: {score.name} of {passes} together better than that of one by", f"{better:.4f}", "")
        yield Finding(f"{title}: NLL of one less that of {passes} together", f"{of.nll[0] - of.nll[-1]:.4f}", "")
        for doubt in m.disagreement.doubts:
            yield Finding(f"{title}: {doubt}: {what}", f"{m.disagreement.detection(doubt, score):.4f}", "")
