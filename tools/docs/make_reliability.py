"""Write the results of the soak to docs/reliability.md: `python -m tools.docs.make_reliability`.

The input is build/reliability.json; docs/reliability.png is drawn. Tables are between `<!-- name -->` and `<!-- /name
-->`.
"""

import json
from collections.abc import Iterable
from typing import Any

from tools.docs.make_performance import BUILD, HERE, fill, measured_by, table
from tools.docs.plot_reliability import draw

Figures = dict[str, Any]


def main() -> None:
    """Write all trials; one that was not run is marked so."""
    page = HERE / "reliability.md"
    found = json.loads((BUILD / "reliability.json").read_text(encoding="utf-8"))
    text = page.read_text(encoding="utf-8")
    for name, parts in SECTIONS.items():
        trial = found["trials"].get(name)
        filled = [*parts(trial["figures"]), rules(trial)] if trial else ["Not run."]
        text = fill(text, name, filled)
    text = fill(text, "machine", [measured_by(found)])
    page.write_text(text, encoding="utf-8")
    if {"overload", "swaps"} <= found["trials"].keys():
        draw({name: found["trials"][name]["figures"] for name in ("overload", "swaps")}, HERE / "reliability.png")
    print(measured_by(found))  # noqa: T201 - a command's own output


def rules(trial: Figures) -> str:
    """Return the rules and whether each held."""
    held = trial["rules"] | trial["bounds"]
    lines = [f"- {'held' if yes else '**did not hold**'}: {rule}" for rule, yes in held.items()]
    return "\n".join([f"In a run of `--minutes {trial['minutes']:g}`:\n", *lines])


def overload(found: Figures) -> Iterable[str]:
    """Yield the section on overload."""
    after = found["after"]
    yield (
        f"Capacity {found['capacity_per_second']:.0f} answers/s, measured just before; requests at "
        f"{found['asked_per_second']:.0f}/s for {found['seconds']:.0f} s, answered "
        f"{found['answered_per_second']:.0f}/s. Answers: {_latencies(found)}; the load generator was "
        f"late by {found['late_p99_ms']:.0f} ms at the 99th percentile; from the time that a request was sent, the "
        f"answers' 99th percentile was {found['served_p99_ms']:.0f} ms."
    )
    yield _ends(found["ends"])
    yield _memory(found["memory"])
    yield (
        f"Right after, the capacity was {found['capacity_after_per_second']:.0f} answers/s. Then half of it for ten "
        f"seconds: the last refusal came {after['last_refused_after_s']:.2f} s "
        f"after the load fell; {_latencies(after)}."
    )


def swaps(found: Figures) -> Iterable[str]:
    """Yield the section on swaps of versions."""
    delay = found["serves_after_s"]
    yield (
        f"{found['versions']} versions in {found['seconds']:.0f} s, {found['damaged']} of them damaged; "
        f"{found['requests']} requests, {found['wrong']} wrong answers; {_latencies(found)}. A good version served "
        f"{delay['median']:.2f} s after its rename (median; longest {delay['max']:.2f} s)."
    )
    yield _ends(found["ends"])
    lines = [(each["damage"], each["tried"], each["refused"], f"`{each['reason']}`") for each in found["damages"]]
    yield table(["damage", "tried", "refused", "last reason"], lines)
    yield _memory(found["memory"])


def killed(found: Figures) -> Iterable[str]:
    """Yield the section on killed workers."""
    yield (
        f"{found['deaths']} workers killed; {found['requests']} requests, {found['lost_a_death']:.1f} lost a death, "
        f"those that the worker held; another served at the latest {found['replaced_after_s']:.1f} s later. "
        f"{_latencies(found).capitalize()}."
    )
    yield _ends(found["ends"])


def stopped(found: Figures) -> Iterable[str]:
    """Yield the section on stops under load."""
    yield f"{found['stops']} stops under load; the longest took {found['longest_s']:.1f} s."
    names = ("workers", "connections", "answered", "refused", "lost", "not_taken")
    yield table(
        ["workers", "connections", "answered", "refused by rule", "accepted and lost", "not accepted any more"],
        [[line[name] for name in names] for line in found["lines"]],
    )


def publishing(found: Figures) -> Iterable[str]:
    """Yield the section on killed publishers and full disks."""
    kills = ", ".join(f"{what} in {times}" for what, times in found["kills"].items())
    yield f"A publisher takes {found['steps']} steps on the disk; killed before each of them, it left {kills} cases."
    lines = [(each["what"], "yes" if each["told"] else "no", each["versions"]) for each in found["full"]]
    yield table(["room", "reported, nothing left behind", "whole versions"], lines)


def store(found: Figures) -> Iterable[str]:
    """Yield the section on absences of the prediction log's store."""
    missing = " ".join(f"Not tried: {reason}." for reason in found["missing"])
    queue = found["queue_bytes"] / 2**20
    away = f"Away for {found['away_s']:.0f} s each time; each worker's queue holds {queue:.0f} MiB here."
    yield f"{away} {missing}".rstrip()
    names = ("asked", "written", "dropped", "stored", "twice")
    lines = [
        (
            line["store"],
            ", ".join(f"{way} {times}" for way, times in line["ways"].items()),
            *(line[name] for name in names),
            f"{line['resumed_after_s']:.1f}",
        )
        for line in found["lines"]
    ]
    heads = [
        "store",
        "lost how, times",
        "rows answered",
        "counted as written",
        "counted as dropped",
        "stored",
        "stored twice",
    ]
    yield table([*heads, "written again after, s, at most"], lines)
    took = [
        (
            line["store"],
            *(f"{line[name]:.0f}" for name in ("there_p99_ms", "away_p99_ms", "before_mb", "first_mb", "last_mb")),
        )
        for line in found["lines"]
    ]
    heads = ["store", "predict, p99 while there, ms", "while away, ms", "memory before, MB", "away first, MB"]
    yield table([*heads, "away last, MB"], took)
    yield "\n\n".join(_ends_of(line) for line in found["lines"])


def _ends_of(line: Figures) -> str:
    answered = sum(each["requests"] for each in line["ends"] if each["end"] == "200")
    return f"{line['store']}: {line['requests']} requests, {answered} answered, {line['wrong']} wrong answers."


def callers(found: Figures) -> Iterable[str]:
    """Yield the section on slow and vanishing callers."""
    yield (
        f"{found['connections']} connections at once, beside other requests: {_latencies(found)} for these, "
        f"{found['wrong']} wrong answers."
    )
    lines = [
        (each["callers"], each["told"], f"{each['longest_s']:.1f}", f"{each['bound_s']:.0f}") for each in found["lines"]
    ]
    yield table(["callers", "status", "held, s", "at most, s"], lines)


def clocks(found: Figures) -> Iterable[str]:
    """Yield the section on jumps of the clock."""
    yield f"{found['jumps']} jumps of up to ten years; {found['requests']} requests, {_latencies(found)}."
    yield _ends(found["ends"])


def _ends(lines: Iterable[Figures]) -> str:
    return table(["request", "end", "requests"], [(each["question"], each["end"], each["requests"]) for each in lines])


def _latencies(found: Figures) -> str:
    return f"p50 {found['p50_ms']:.0f} ms, p99 {found['p99_ms']:.0f} ms, longest {found['max_ms']:.0f} ms"


def _memory(found: Figures) -> str:
    return (
        f"Memory of all workers: {found['first_mb']:.0f} MB at first and {found['last_mb']:.0f} MB "
        f"{found['seconds']:.0f} s later; slope {found['mb_per_minute']:.2g} MB/minute, with 95 % confidence between "
        f"{found['low']:.2g} and {found['high']:.2g}."
        + (f" Fresh, they had taken {found['fresh_mb']:.0f} MB." if "fresh_mb" in found else "")
    )


SECTIONS = {
    "overload": overload,
    "swaps": swaps,
    "killed": killed,
    "stopped": stopped,
    "publishing": publishing,
    "store": store,
    "callers": callers,
    "clocks": clocks,
}

if __name__ == "__main__":
    main()
