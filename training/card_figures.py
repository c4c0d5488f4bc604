"""A manifest's evaluation → the card's tables and plots, with words that say what to make of each figure."""

from collections.abc import Mapping

from service.manifest import Manifest
from training.glossary import DOUBTFUL, DOUBTS, GLOSSARY, KINDS, PLOTS, SETS
from training.markdown import number, table


def figures(manifest: Manifest) -> str:
    """The section of the card."""
    if not manifest.evaluation:
        return "## Figures\n\nNot evaluated."
    parts = [_main(manifest), *_plots(manifest), _detection(manifest), _promises(manifest), _abstention(manifest)]
    return "\n\n".join(["## Figures", "On test rows that neither training nor calibration saw.", *filter(None, parts)])


def _main(manifest: Manifest) -> str:
    rows = [
        (figure.title, *_beside(manifest, name), figure.better, figure.meaning)
        for name, figure in GLOSSARY.items()
        if any(_beside(manifest, name))
    ]
    return table(("figure", *KINDS.values(), "better", "what it says"), rows)


def _plots(manifest: Manifest) -> list[str]:
    return [f"![{caption}]({name})" for name, caption in PLOTS.items() if name in manifest.files]


def _detection(manifest: Manifest) -> str:
    rows = [
        (what, by, *beside)
        for event, what in DOUBTFUL.items()
        for doubt, by in DOUBTS.items()
        if any(beside := _beside(manifest, f"auroc_{event}_{doubt}"))
    ]
    if not rows:
        return ""
    return (
        "### Does it doubt what it should?\n\nAUROC: how often a row that deserves doubt is doubted more than one that"
        " does not. 0.5 is guessing, 1 is perfect; higher is better.\n\n"
    ) + table(("to be told", "by", *KINDS.values()), rows)


def _promises(manifest: Manifest) -> str:
    """Coverage and size of sets and intervals."""
    sizes = "set_size" if manifest.task == "classification" else "width"
    rows = [
        (made, aim, number(found), number(_named(manifest, kind, sizes).get(aim)))
        for kind, made in SETS.items()
        for aim, found in _named(manifest, kind, "coverage").items()
    ]
    if not rows:
        return ""
    what = "classes in a set" if manifest.task == "classification" else "width"
    return (
        "### Do sets and intervals keep their word?\n\nShare of the test rows whose truth lies inside; it should be"
        " about what is aimed at. Where it is, smaller is better.\n\n"
    ) + table(("made of", "coverage aimed at", "coverage found", what), rows)


def _abstention(manifest: Manifest) -> str:
    accepted, wrong = (_named(manifest, "mc", name) for name in ("accepted", "error_rate"))
    rows = [(aim, number(wrong.get(aim)), number(share)) for aim, share in accepted.items()]
    if not rows:
        return ""
    return (
        "### Do the abstention thresholds keep their word?\n\nShare of wrong answers among the test rows that each"
        " threshold accepts; it should not be above the aim, but for chance where rows are few.\n\n"
    ) + table(("error rate aimed at", "error rate found", "share accepted"), rows)


def _beside(manifest: Manifest, name: str) -> tuple[str, ...]:
    """The figure of each kind of answer."""
    return tuple(number(manifest.evaluation.get(kind, {}).get(name)) for kind in KINDS)


def _named(manifest: Manifest, kind: str, name: str) -> Mapping[str, float]:
    """Figures called `<name>_<aim>`, by aim."""
    found = manifest.evaluation.get(kind, {})
    return {key.removeprefix(f"{name}_"): value for key, value in found.items() if key.startswith(f"{name}_")}
