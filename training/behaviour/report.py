"""Write a report as Markdown."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from training.behaviour.claim import Claim, Finding
from training.behaviour.scores import score_of
from training.behaviour.study import Report
from training.publish.markdown import table

COMMAND = "dropserve behaviour"
"""The command that makes a report."""


def markdown(report: Report, plots: str | None = None) -> str:
    """Return the report; `plots` is the path of the charts' folder in links, None for a report without charts."""
    sections = [f"# {title(report)}", *paragraphs(report), _summary(report)]
    sections += [part for number, claim in enumerate(report.claims, start=1) for part in _claim(number, claim, plots)]
    return "\n\n".join(sections) + "\n"


def title(report: Report) -> str:
    """Return the title of the page."""
    of = f"{report.published.title} and networks trained like it" if report.published else report.data.name
    return f"What dropout does: {of}"


def paragraphs(report: Report) -> Iterator[str]:
    """Yield the introduction: subject, data and extent of the measurements; code is in backquotes."""
    yield (
        "Everything here was measured on real data, with and without dropout side by side. A claim holds where every"
        " finding that counts for it does. It does not hold here where a finding refutes it, and is not shown where the"
        " bounds of one include both. Verdicts are computed from the numbers."
    )
    if report.options.get("quick"):
        yield "It was made with `--quick`, which measures little, as a trial: its verdicts are not reliable."
    if report.published:
        trained = report.published.manifest.created or "at a time not stated"
        yield (
            f"It belongs to model {report.published.title}, published {trained}. Claims 2, 4 and 6 were measured on"
            " that model too, on its test rows. Claims 1, 3 and 5, and the comparisons of 4"
            " and 6, are of other networks, which were trained for the report on the same data with the same settings,"
            " except p, the seed, the rows and the epochs; the service's masks in claim 1 are those of the model."
        )
    config, settings, data = report.config, report.settings, report.data
    what = f"{len(data.labels)} classes"
    if not data.labels:
        deviation = f"{score_of(data).spread:.4g}"
        what = f"a regression, whose relative errors are shares of the target's standard deviation, {deviation}"
    yield (
        f"Data: {data.name}, {len(data.targets):,} rows, {what}; SHA-256 {data.sha256}."
        f" Networks of the report: {config.network} with {', '.join(map(str, config.hidden))} hidden units,"
        f" at most {settings.train_rows:,} training rows, {settings.epochs} epochs, {settings.seeds} seeds from"
        f" {settings.seed} on. Made {report.created} by `{command(report)}`."
    )


def command(report: Report) -> str:
    """Return the command that makes the report again, with the names of paths only, which may be private."""
    model = ["--model", f"models/{report.published.title}"] if report.published else []
    options = [word for name, value in report.options.items() for word in _option(name, value)]
    return " ".join([COMMAND, *map(shlex.quote, [*model, *options])])


def _option(name: str, value: object) -> list[str]:
    if value is True:
        return [f"--{name}"]
    if isinstance(value, list):
        return [word for one in value for word in (f"--{name}", f'"{one}"' if "," in one else one)]
    path = name == "data" or (name == "out" and Path(str(value)).is_absolute())
    return [f"--{name}", Path(str(value)).name if path else str(value)]


def headline(claim: Claim) -> Finding:
    """Return the main finding: the first one that determines the verdict."""
    worst = ("no", "not shown", "yes", "")
    return min(claim.findings, key=lambda finding: worst.index(finding.verdict))


def _summary(report: Report) -> str:
    rows = [
        (str(number), claim.title, f"**{claim.verdict}**", f"{headline(claim).what}: {headline(claim).found}")
        for number, claim in enumerate(report.claims, start=1)
    ]
    return table(("", "claim", "verdict", "main finding"), rows)


def _claim(number: int, claim: Claim, plots: str | None) -> Iterator[str]:
    yield f"## {number}. {claim.title}"
    yield f"{claim.statement}\n\nVerdict: **{claim.verdict}**."
    yield table(("measured", "found", "expected", "holds"), [(*f[:3], f.verdict) for f in claim.findings])
    if plots is not None:
        yield from (f"![{plot.caption}]({plots}/{plot.name})" for plot in claim.plots)
    for each in claim.tables:
        yield f"{each.caption}\n\n{table(each.header, each.rows)}"
    yield f"How it was measured: {claim.how}"
