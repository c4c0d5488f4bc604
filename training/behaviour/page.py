"""Write a report as one self-contained HTML file: charts inline, no scripts, for light and dark."""

from collections.abc import Iterator, Sequence
from html import escape

from training.behaviour.claim import Claim, Finding, Table
from training.behaviour.report import headline, paragraphs, title
from training.behaviour.study import Report

MARKS = {"holds": "holds", "yes": "holds", "not shown": "open", "does not hold here": "fails", "no": "fails"}
"""CSS classes of the verdicts."""
TOGETHER = "\u00a0±\u00a0"
"""A plus-minus with spaces that do not break."""
STYLE = """
:root{color-scheme:light dark;--back:#fff;--text:#1f2328;--soft:#59636e;--edge:#d1d9e0;--card:#f6f8fa;--good:#1a7f37;
--bad:#bc4c00;--link:#0969da}
@media(prefers-color-scheme:dark){:root{--back:#0d1117;--text:#e6edf3;--soft:#9198a1;--edge:#3d444d;--card:#151b23;
--good:#3fb950;--bad:#f0883e;--link:#58a6ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);font:16px/1.6 system-ui,sans-serif;
font-variant-numeric:tabular-nums}
main{max-width:68rem;margin:0 auto;padding:3rem 1.25rem 6rem}
h1{font-size:1.9rem;line-height:1.25;margin:0 0 1rem;letter-spacing:-.01em}
h2{font-size:1.35rem;line-height:1.3;margin:0 0 .5rem}
a{color:var(--link)}p{margin:0 0 1rem}.soft{color:var(--soft);font-size:.9rem;overflow-wrap:anywhere}
ol.claims{list-style:none;margin:2rem 0 0;padding:0;border:1px solid var(--edge);border-radius:.6rem;overflow:hidden}
ol.claims li{display:grid;grid-template-columns:1fr auto;gap:.1rem 1rem;padding:.8rem 1.1rem;
border-top:1px solid var(--edge)}
ol.claims li:first-child{border-top:0}ol.claims a{text-decoration:none;color:inherit;font-weight:600}
ol.claims a:hover{text-decoration:underline}ol.claims .soft{grid-column:1/-1}
.verdict{white-space:nowrap;font-size:.85rem;font-weight:600}
.verdict::before{content:"";display:inline-block;width:.6em;height:.6em;margin-right:.45em;border-radius:50%;
background:currentColor}
.holds{color:var(--good)}.fails{color:var(--bad)}.fails::before{border-radius:0}
.open{color:var(--soft)}.open::before{background:none;border:2px solid currentColor}
section{margin-top:4rem;padding-top:2rem;border-top:1px solid var(--edge)}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,22rem),1fr));gap:1.5rem;margin:1.5rem 0}
figure{margin:0;padding:1rem;border:1px solid var(--edge);border-radius:.6rem}
figure svg{display:block;width:100%;height:auto}figcaption{margin-top:.5rem;color:var(--soft);font-size:.85rem}
.scroll{overflow-x:auto;margin:.5rem 0 1.5rem}table{border-collapse:collapse;width:100%;font-size:.875rem}
.caption{margin:2rem 0 0;max-width:46rem}
th,td{text-align:left;vertical-align:top;padding:.45rem .75rem .45rem 0;border-bottom:1px solid var(--edge)}
th{font-weight:600}td+td{min-width:5.5rem}.findings td:first-child{min-width:15rem}td.verdict{padding-right:0}
.how{background:var(--card);border-radius:.6rem;padding:1rem 1.1rem;font-size:.9rem;margin:0}
@media print{section{break-inside:avoid}}"""


def page(report: Report) -> str:
    """Return the HTML file."""
    texts = list(paragraphs(report))
    body = [
        f"<h1>{escape(title(report))}</h1>",
        *(f"<p>{escape(text)}</p>" for text in texts[:-1]),
        f'<p class="soft">{_code(texts[-1])}</p>',
        '<ol class="claims">',
        *(_line(number, claim) for number, claim in enumerate(report.claims, start=1)),
        "</ol>",
        *(part for number, claim in enumerate(report.claims, start=1) for part in _section(number, claim)),
    ]
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title(report))}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>",
            *body,
            "</main>\n</body>\n</html>\n",
        ]
    )


def _line(number: int, claim: Claim) -> str:
    finding = headline(claim)
    return (
        f'<li><a href="#{claim.key}">{number}. {escape(claim.title)}</a>{_verdict(claim)}'
        f'<span class="soft">{escape(finding.what)}: {escape(finding.found)}</span></li>'
    )


def _verdict(claim: Claim) -> str:
    return f'<span class="verdict {MARKS[claim.verdict]}">{claim.verdict}</span>'


def _section(number: int, claim: Claim) -> Iterator[str]:
    yield f'<section id="{claim.key}">\n<h2>{number}. {escape(claim.title)}</h2>\n<p>{_verdict(claim)}</p>'
    yield f"<p>{_code(claim.statement)}</p>"
    yield _findings(claim.findings, f"Findings of claim {number}")
    if claim.plots:
        yield '<div class="plots">'
        yield from (f"<figure>{p.svg}<figcaption>{escape(p.caption)}</figcaption></figure>" for p in claim.plots)
        yield "</div>"
    yield from map(_table, claim.tables)
    yield f'<p class="how"><strong>How it was measured.</strong> {_code(claim.how)}</p>\n</section>'


def _findings(findings: Sequence[Finding], label: str) -> str:
    rows = (f"<tr>{_cells(finding[:3])}{_mark(finding.verdict)}</tr>" for finding in findings)
    head = _head(("measured", "found", "expected", ""))
    return _scrolled(f'<table class="findings">{head}{"".join(rows)}</table>', label)


def _mark(verdict: str) -> str:
    return f'<td class="verdict {MARKS[verdict]}">{verdict}</td>' if verdict else "<td></td>"


def _table(table: Table) -> str:
    rows = "".join(f"<tr>{_cells(row)}</tr>" for row in table.rows)
    whole = _scrolled(f"<table>{_head(table.header)}{rows}</table>", table.caption)
    return f'<p class="soft caption">{escape(table.caption)}</p>\n{whole}'


def _scrolled(table: str, label: str) -> str:
    """Return the table in a region that scrolls by itself, also by keyboard."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">{table}</div>'


def _head(header: Sequence[str]) -> str:
    cells = "".join(f'<th scope="col">{escape(name)}</th>' if name else "<td></td>" for name in header)
    return f"<tr>{cells}</tr>"


def _cells(row: Sequence[str]) -> str:
    """Return table cells; a number and its error stay on one line."""
    return "".join(f"<td>{escape(cell.replace(' ± ', TOGETHER))}</td>" for cell in row)


def _code(text: str) -> str:
    """Return the text with code in backquotes marked up."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
