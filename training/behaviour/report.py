"""A report → Markdown."""

from collections.abc import Iterator
from pathlib import Path

from training.behaviour.claim import Claim, Finding
from training.behaviour.settings import QUICK, Settings
from training.behaviour.study import Report
from training.markdown import table

MARKS = {True: "yes", False: "no", None: ""}
COMMAND = "python -m training behaviour"


def markdown(report: Report, plots: str | None = None) -> str:
    """The report; `plots` is the folder of the charts as seen from the file, without one there are none."""
    sections = [f"# {title(report)}", *paragraphs(report), _summary(report)]
    sections += [part for number, claim in enumerate(report.claims, start=1) for part in _claim(number, claim, plots)]
    return "\n\n".join(sections) + "\n"


def title(report: Report) -> str:
    """Of the page."""
    return f"What dropout does: {report.published.title if report.published else report.data.name}"


def paragraphs(report: Report) -> Iterator[str]:
    """What it is, of what, and how much was measured; code is in backquotes."""
    yield (
        "Everything here was measured on real data, with and without dropout side by side. A claim holds where every"
        " finding that decides on it does; verdicts are computed from the numbers."
    )
    if report.published:
        trained = report.published.manifest.created or "at a time not stated"
        yield (
            f"It belongs to model {report.published.title}, published {trained}; claims 2, 4 and 6 were measured"
            " on that model too, on test rows that it did not learn from."
        )
    config, settings, data = report.config, report.settings, report.data
    yield (
        f"Data: {data.name}, {len(data.targets):,} rows, {len(data.labels)} classes, SHA-256 {data.sha256}."
        f" Networks of the report: {config.network} with {', '.join(map(str, config.hidden))} hidden units,"
        f" {settings.epochs} epochs, {settings.seeds} seeds from {settings.seed} on. Made {report.created} by"
        f" `{command(report)}`."
    )


def command(report: Report) -> str:
    """That makes it again; of paths the last name, for they are nobody else's."""
    settings, config = report.settings, report.config
    usual = QUICK if settings.passes == QUICK.passes else Settings()
    given = {name: getattr(settings, name) for name in ("seeds", "seed", "epochs")}
    options = [
        f"--model models/{report.published.title}" if report.published else f"--data {Path(config.data).name}",
        *([f"--target {config.target}"] if config.target else []),
        *(f"--{name} {value}" for name, value in given.items() if value != getattr(usual, name)),
        *(["--quick"] if usual is QUICK else []),
        *([f"--out {report.out.name if report.out.is_absolute() else report.out}"] if report.out else []),
    ]
    return " ".join([COMMAND, *options])


def headline(claim: Claim) -> Finding:
    """The number to be told first: that of the first finding that does not hold, else of the first."""
    return next((finding for finding in claim.findings if finding.holds is False), claim.findings[0])


def _summary(report: Report) -> str:
    rows = [
        (str(number), claim.title, f"**{claim.verdict}**", f"{headline(claim).what}: {headline(claim).found}")
        for number, claim in enumerate(report.claims, start=1)
    ]
    return table(("", "claim", "verdict", "one of its numbers"), rows)


def _claim(number: int, claim: Claim, plots: str | None) -> Iterator[str]:
    yield f"## {number}. {claim.title}"
    yield f"{claim.statement}\n\nVerdict: **{claim.verdict}**."
    yield table(("measured", "found", "expected", "holds"), [(*f[:3], MARKS[f.holds]) for f in claim.findings])
    if plots is not None:
        yield from (f"![{plot.caption}]({plots}/{plot.name})" for plot in claim.plots)
    for each in claim.tables:
        yield f"{each.caption}\n\n{table(each.header, each.rows)}"
    yield f"How it was measured: {claim.how}"
