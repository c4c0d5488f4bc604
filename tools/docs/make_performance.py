"""Write measurements and their plots to docs/performance.md: `python -m tools.docs.make_performance NAME …`.

The input is the output of `make bench` in build/. Names are serving, sampling, growth and training; tables are between
`<!-- name -->` and `<!-- /name -->`. Partial measurements, such as without peers, are refused.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.serving.contenders import PREDICT, UNCERTAINTY
from benchmarks.serving.subjects import PRODUCTS

HERE = Path(__file__).parents[2] / "docs"
BUILD = HERE.parent / "build"
MODELS = {"small": "64-256-256-10", "large": "784-1024-1024-10"}


def main(names: Sequence[str]) -> None:
    """Write these sections and report them; the others are unchanged."""
    page = HERE / "performance.md"
    text = page.read_text(encoding="utf-8")
    for name in names:
        if name not in SECTIONS:
            raise SystemExit(f"expected some of {', '.join(SECTIONS)}; found {name}")
        measured = BUILD / f"{name}.json"
        if not measured.exists():
            raise SystemExit(f"{measured} does not exist; `make bench ARGS={name}` writes it")
        found = json.loads(measured.read_text(encoding="utf-8"))
        if name == "serving" and any(goal["measured"] is None for goal in found["goals"]):
            raise SystemExit(f"{measured}: some were not measured, by {found['command']}")
        text = fill(text, name, [measured_by(found), *SECTIONS[name](found)])
        if (plot := measured.with_suffix(".png")).exists():
            shutil.copy(plot, HERE / f"performance_{name}.png")
        print(f"{name}: {measured_by(found)}")  # noqa: T201 - a command's own output
    page.write_text(text, encoding="utf-8")


def fill(text: str, name: str, parts: Iterable[str]) -> str:
    """Return the text with these parts between the name's marks."""
    content = "\n\n".join(parts)
    filled, count = re.subn(
        rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda m: f"{m[1]}\n{content}\n\n{m[2]}", text, flags=re.DOTALL
    )
    if not count:
        raise SystemExit(f"there are no marks for {name}")
    return filled


def measured_by(found: dict[str, Any]) -> str:
    """Return the command and the machine."""
    return f"`{found['command']}`, {found['when'][:10]}, {found['machine']}."


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; the first column is text, the others are numbers."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def serving(found: dict[str, Any]) -> Iterable[str]:
    """Yield for each model speed by connections, cost, sampling and the effect of a second worker; then the goals."""
    if found["medians"]:
        yield disturbance(found)
    for model, layers in MODELS.items():
        first = {line["contender"]: line for line in found["medians"] if (line["model"], line["workers"]) == (model, 1)}
        if first:
            yield f"**{layers}, one worker**"
            yield _speed(first)
        if UNCERTAINTY in first:
            yield f"µs a row of the {PRODUCTS}, beside the whole request at the most connections:"
            yield _products(first[UNCERTAINTY])
        second = [line for line in found["medians"] if (line["model"], line["workers"]) == (model, 2)]
        if second:
            yield f"**{layers}, two workers**, at the most connections"
            yield _scaling(second, first)
    yield "**Goals of Dropserve**, small network"
    verdict = {True: "met", False: "not met", None: "not measured"}
    yield table(
        ["goal", "bound", "measured", ""],
        [
            (
                goal["text"],
                f"{'≤' if goal['at_most'] else '≥'} {goal['bound']:g}",
                _two(goal["measured"]),
                verdict[goal["met"]],
            )
            for goal in found["goals"]
        ],
    )
    if found["not_run"]:
        yield "Not run: " + "; ".join(f"{_named(one)}: {one['reason']}" for one in found["not_run"]) + "."


def disturbance(found: dict[str, Any]) -> str:
    """Return a remark on other work on the machine."""
    cores = [at["disturbed"] for line in found["medians"] for at in line["at"].values()]
    return f"All else on the machine took {median(cores):.2f} cores meanwhile, {max(cores):.2f} at most."


def _speed(lines: dict[str, dict[str, Any]]) -> str:
    counts = list(next(iter(lines.values()))["at"])
    measures = ("req/s", "÷", "p50 ms", "p99 ms")
    rows = []
    for name, line in lines.items():
        cells = [
            cell
            for count in counts
            for at in [line["at"][count]]
            for cell in (
                f"{at['per_second']:.0f}",
                _share(lines[PREDICT]["at"][count]["per_second"], at["per_second"]),
                f"{at['p50_ms']:.2f}",
                f"{at['p99_ms']:.2f}",
            )
        ]
        costs = (f"{line['at'][counts[-1]]['cpu_us']:.0f}", f"{line['idle_mb']:.0f}", f"{line['ready_seconds']:.2f}")
        rows.append((name, *cells, *costs))
    speeds = (f"{count}: {measure}" for count in counts for measure in measures)
    return table(["", *speeds, "CPU µs/request", "idle MB", "start s"], rows)


def _products(line: dict[str, Any]) -> str:
    *_, at = line["at"].values()
    times = [*line["products_us"].values(), 1e6 / at["per_second"]]
    columns = [f"{rows} rows in a run" for rows in line["products_us"]]
    return table(["", *columns, UNCERTAINTY], [("µs", *(f"{time:.0f}" for time in times))])


def _scaling(lines: Sequence[dict[str, Any]], first: dict[str, dict[str, Any]]) -> str:
    rows = []
    for line in lines:
        (most, at), *_ = reversed(line["at"].items())
        before = first.get(line["contender"], {"at": {}})["at"].get(most)
        cells = (
            *(f"{at['per_second']:.0f}", _share(at["per_second"], before and before["per_second"])),
            *(f"{1e6 / at['cpu_us']:.0f}", _share(before and before["cpu_us"], at["cpu_us"])),
            *(f"{at['p50_ms']:.2f}", f"{at['p99_ms']:.2f}"),
        )
        rows.append((line["contender"], *cells))
    return table(["", "req/s", "× one worker", "req/CPU s", "× one worker", "p50 ms", "p99 ms"], rows)


def _share(one: float | None, other: float | None) -> str:
    return f"{one / other:.2f}" if one and other else ""


def _named(one: dict[str, Any]) -> str:
    return ", ".join(str(value) for key, value in one.items() if key != "reason")


def sampling(found: dict[str, Any]) -> Iterable[str]:
    """Yield all contenders in units of one deterministic pass, and the ratios."""
    cells = found["cells"]
    unit = "one deterministic pass"
    bounds = (unit, "layer products", "large product")
    everyone = list(dict.fromkeys(name for cell in cells for name in cell["milliseconds"] if name not in bounds))
    yield "In units of one deterministic pass of onnxruntime, with the same rows and threads:"
    yield table(
        ["network, rows, threads", "one pass, ms", *everyone],
        [
            (
                _cell(cell),
                f"{cell['milliseconds'][unit]:.3g}",
                *(_number(cell["milliseconds"].get(name), 1 / cell["milliseconds"][unit]) for name in everyone),
            )
            for cell in cells
        ],
    )
    yield "Ratios:"
    names = list(dict.fromkeys(name for cell in cells for name in cell["ratios"]))
    yield table(
        ["network, rows, threads", "best peer", *names],
        [(_cell(cell), cell["best_peer"], *(_number(cell["ratios"].get(name)) for name in names)) for cell in cells],
    )
    yield table(
        ["goal", "worst", "where", "met in"],
        [(g["goal"], f"{g['worst']:.2f}", g["where"], f"{g['met']} of {g['cells']}") for g in found["goals"]],
    )


def growth(found: dict[str, Any]) -> Iterable[str]:
    """Yield the line of each panel."""
    yield table(
        ["grows with", "from", "to", "ms at the start", "ms each", "exponent of the larger half"],
        [
            (
                panel["name"],
                panel["sizes"][0],
                panel["sizes"][-1],
                _number(panel["start"], 1e3),
                _number(panel["each"], 1e3),
                _two(panel["exponent"]),
            )
            for panel in found["grown"]
        ],
    )


def training(found: dict[str, Any]) -> Iterable[str]:
    """Yield the samples a second of all contenders, and Dropserve's relative speed."""
    yield table(
        ["network, threads", "", "samples/s", "ours / theirs", "training loss"],
        [
            (
                f"{cell['network']}, {cell['threads']}",
                name,
                f"{speed:.0f}",
                _two(cell["ratios"].get(name)),
                f"{cell['losses'][name]:.3f}",
            )
            for cell in found["cells"]
            for name, speed in cell["samples_per_second"].items()
        ],
    )
    absent = {f"{name}: {why}" for cell in found["cells"] for name, why in cell["absent"].items()}
    if absent:
        yield "Not run: " + "; ".join(sorted(absent)) + "."


def _cell(cell: dict[str, Any]) -> str:
    return f"{cell['model']}, {cell['rows']}, {cell['threads']}"


def _number(value: float | None, scale: float = 1.0) -> str:
    return "" if value is None else f"{value * scale:.3g}"


def _two(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


SECTIONS = {"serving": serving, "sampling": sampling, "growth": growth, "training": training}

if __name__ == "__main__":
    main(sys.argv[1:])
