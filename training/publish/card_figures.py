"""Write a manifest's evaluation as the card's tables and plots, with an explanation of each figure."""

from collections.abc import Iterable, Mapping

from service.model.manifest import Manifest
from training.evidence.glossary import COMPARED, DETECTED, GLOSSARY, KINDS, PLOTS, SCORES, SETS
from training.publish.markdown import escaped, number, table

MOST_CLASSES = 50
"""The largest number of classes in a table."""


def figures(manifest: Manifest) -> str:
    """Return the section of the card on figures, plots and reliability checks."""
    if not manifest.evaluation:
        return "\n\n".join(filter(None, ("## Figures", _warnings(manifest), "Not evaluated.")))
    parts = [_warnings(manifest), _main(manifest), _classes(manifest), *_plots(manifest), _detection(manifest)]
    parts += [_coverage(manifest), _abstention(manifest)]
    return "\n\n".join(["## Figures", "On test rows that neither training nor calibration used.", *filter(None, parts)])


def _warnings(manifest: Manifest) -> str:
    return "\n".join(f"- **Warning:** {escaped(warning)}." for warning in manifest.warnings)


def _main(manifest: Manifest) -> str:
    rows = [
        (figure.title, *_beside(manifest, name, COMPARED), figure.better, figure.meaning)
        for name, figure in GLOSSARY.items()
        if any(_beside(manifest, name))
    ]
    what = "the frequencies of the classes" if manifest.labels else "the mean of the targets"
    return (
        f"The constant answer is {what}, the same for every row: the level of a network without skill.\n\n"
    ) + table(("figure", *COMPARED.values(), "better", "meaning"), rows)


def _classes(manifest: Manifest) -> str:
    """Return a table of each class's base rate and recall."""
    if not manifest.class_figures:
        return ""
    total = sum(figures.rows for figures in manifest.class_figures)
    classes = list(zip(manifest.labels, manifest.class_figures, strict=True))
    if many := len(classes) > MOST_CLASSES:
        classes = sorted(classes, key=lambda of: of[1].recall.get("deterministic", 1.0))[:MOST_CLASSES]
    which = f" Of {len(manifest.labels)} classes the {MOST_CLASSES} of lowest recall." * many
    rows = [
        (label, str(of.rows), number(of.rows / total), *(number(of.recall.get(kind)) for kind in KINDS))
        for label, of in classes
    ]
    return (
        "### Classes\n\nBase rate: share of the test rows. Recall: share of the rows of a class that"
        f" are predicted as it.{which}\n\n"
    ) + table(("class", "test rows", "base rate", *(f"recall, {kind}" for kind in KINDS.values())), rows)


def _plots(manifest: Manifest) -> list[str]:
    return [f"![{caption}]({name})" for name, caption in PLOTS.items() if name in manifest.files]


def _detection(manifest: Manifest) -> str:
    rows = [
        (what, by, *beside)
        for event, what in DETECTED.items()
        for score, by in SCORES.items()
        if any(beside := _beside(manifest, f"auroc_{event}_{score}"))
    ]
    if not rows:
        return ""
    return (
        "### Detection by uncertainty\n\nAUROC: how often the uncertainty of a row to detect is higher than that of a"
        " row not to detect. 0.5 is guessing, 1 is perfect; higher is better.\n\n"
    ) + table(("to detect", "by", *KINDS.values()), rows)


def _coverage(manifest: Manifest) -> str:
    """Return a table of the coverage and size of sets and intervals."""
    expected = {
        ("deterministic", f"{quantile.coverage:g}"): " to ".join(map(number, quantile.expected))
        for quantile in manifest.conformal
        if quantile.expected
    }
    sizes = "set_size" if manifest.task == "classification" else "width"
    rows = [
        (made, aim, number(found), expected.get((kind, aim), ""), number(_named(manifest, kind, sizes).get(aim)))
        for kind, made in SETS.items()
        for aim, found in _named(manifest, kind, "coverage").items()
    ]
    if not rows:
        return ""
    what = "classes in a set" if manifest.task == "classification" else "width"
    return (
        "### Coverage of sets and intervals\n\nShare of the test rows whose truth lies inside; it should be close to"
        " the target. Where it is, smaller is better. The coverage of conformal sets and intervals lies in the expected"
        " range in 99 % of such tests, if the test rows are like the calibration rows.\n\n"
    ) + table(("made of", "target coverage", "coverage", "expected", what), rows)


def _abstention(manifest: Manifest) -> str:
    accepted, wrong = (_named(manifest, "mc", name) for name in ("accepted", "error_rate"))
    rows = [(aim, number(wrong.get(aim)), number(share)) for aim, share in accepted.items()]
    if not rows:
        return ""
    return (
        "### Error rates of the abstention thresholds\n\nShare of wrong answers among the test rows that each threshold"
        " accepts; it should not be above the target, except by chance where rows are few.\n\n"
    ) + table(("target error rate", "error rate", "share accepted"), rows)


def _beside(manifest: Manifest, name: str, kinds: Iterable[str] = KINDS) -> tuple[str, ...]:
    """Return the figure of each kind of answer."""
    return tuple(number(manifest.evaluation.get(kind, {}).get(name)) for kind in kinds)


def _named(manifest: Manifest, kind: str, name: str) -> Mapping[str, float]:
    """Return the figures named `<name>_<target>`, by target."""
    found = manifest.evaluation.get(kind, {})
    return {key.removeprefix(f"{name}_"): value for key, value in found.items() if key.startswith(f"{name}_")}
