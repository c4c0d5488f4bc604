"""Draw the two long trials: answers and refusals, latency, and memory over time."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

TITLES = {"overload": "Twice the capacity", "swaps": "A version a second, every tenth damaged"}
ANSWERED, REFUSED, PLAIN = "tab:blue", "tab:orange", "dimgray"


def draw(trials: Mapping[str, Any], file: Path) -> None:
    """Draw a column of panels for each trial."""
    figure = Figure(figsize=(5.5 * len(trials), 7), layout="constrained")
    panels = figure.subplots(3, len(trials), sharex="col", squeeze=False)
    for (name, found), (rates, latency, memory) in zip(trials.items(), panels.T, strict=True):
        requests = found["over_time"]["requests"]
        minutes = _minutes(requests)
        rates.plot(minutes, [each["answered_per_second"] for each in requests], color=ANSWERED, label="answered")
        rates.plot(minutes, [each["refused_per_second"] for each in requests], color=REFUSED, label="refused by rule")
        rates.set(title=TITLES[name], ylabel="requests a second")
        rates.legend(loc="center right")
        latency.plot(minutes, [each["p99_ms"] for each in requests], color=ANSWERED)
        latency.set(ylabel="99th percentile of answers, ms")
        samples = found["over_time"]["memory"]
        memory.plot(_minutes(samples), [each["mb"] for each in samples], color=PLAIN)
        memory.set(ylabel="memory of all workers, MB", xlabel="minutes")
        for panel in (rates, latency, memory):
            panel.set_ylim(0, 1.15 * panel.dataLim.y1)
            panel.grid(alpha=0.3)
    figure.savefig(file, dpi=120)


def _minutes(parts: Iterable[Mapping[str, float]]) -> list[float]:
    return [each["seconds"] / 60 for each in parts]
