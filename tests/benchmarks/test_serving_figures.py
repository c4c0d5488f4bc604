"""Visits → medians → goals."""

import pytest

from benchmarks.serving.contenders import NAIVE, PREDICT, UNCERTAINTY
from benchmarks.serving.figures import Table, summarise
from benchmarks.serving.goals import Goal, goals
from benchmarks.serving.load import Load
from benchmarks.serving.measuring import Measured, Visit

SECONDS = 2.0


def measured(connections: int, rate: float, p50: float = 1.0, p99: float = 2.0, refused: int = 0) -> Measured:
    """So many answers a second; each request costs 100 µs, and others take a tenth of a core."""
    requests = int(SECONDS * rate) + refused
    load = Load(requests, SECONDS, p50, p99, refused, broken=1)
    return Measured(connections, load, cpu_seconds=1e-4 * requests, other_cpu_seconds=0.1 * SECONDS)


def visit(contender: str, *loads: Measured, workers: int = 1, ready: float = 1.0, idle: int = 100_000_000) -> Visit:
    return Visit("small", workers, contender, ready, idle, 2 * idle, loads)


def reached(table: Table) -> dict[str, Goal]:
    return {goal.text: goal for goal in goals(table)}


def test_figures_are_medians_over_repeats_of_the_same_key() -> None:
    rates, starts, idles = (100.0, 900.0, 200.0), (0.5, 4.0, 0.7), (10_000_000, 90_000_000, 20_000_000)
    visits = [
        visit(PREDICT, measured(1, rate, p50=rate / 10, p99=rate), ready=ready, idle=idle)
        for rate, ready, idle in zip(rates, starts, idles, strict=True)
    ]
    table = summarise([*visits, visit(PREDICT, measured(1, 5.0), workers=2)])
    assert set(table) == {("small", 1, PREDICT), ("small", 2, PREDICT)}
    figures = table["small", 1, PREDICT]
    assert (figures.ready_seconds, figures.idle_mb, figures.loaded_mb) == (0.7, 20, 40)
    line = figures.at[1]
    assert (line.per_second, line.p50_ms, line.p99_ms) == (200, 20, 200)
    assert line.cpu_us == pytest.approx(100)
    assert line.disturbed == pytest.approx(0.1)


def test_connections_are_not_mixed() -> None:
    table = summarise(visit(PREDICT, measured(1, one), measured(64, 10 * one)) for one in (1.0, 2.0, 3.0))
    assert {count: line.per_second for count, line in table["small", 1, PREDICT].at.items()} == {1: 2, 64: 20}


def test_refusals_are_no_answers() -> None:
    table = summarise([visit(PREDICT, measured(1, 100.0, refused=50)), visit(PREDICT, measured(1, 100.0))])
    line = table["small", 1, PREDICT].at[1]
    assert line.per_second == 100
    assert line.refused == 50 / 450
    assert line.broken == 2


def test_ratios_of_rates_must_reach_their_bound() -> None:
    table = summarise([visit(PREDICT, measured(64, 700.0)), visit(NAIVE, measured(64, 200.0))])
    goal = reached(table)[f"requests a second at 64 connections, of those of {NAIVE}"]
    assert (goal.measured, goal.met, goal.at_most) == (3.5, True, False)
    assert goal._replace(bound=3.6).met is False


def test_two_workers_are_compared_with_one() -> None:
    table = summarise([visit(PREDICT, measured(64, 100.0)), visit(PREDICT, measured(64, 150.0), workers=2)])
    goal = reached(table)["requests a second at 64 connections, two workers of one"]
    assert (goal.measured, goal.met) == (1.5, False)


def test_ratios_of_times_must_not_exceed_their_bound() -> None:
    table = summarise(
        [
            visit(PREDICT, measured(1, 1.0, p50=2.0), measured(8, 1.0, p50=3.0, p99=8.0)),
            visit("LitServe", measured(8, 1.0, p50=10.0, p99=90.0)),
            visit(UNCERTAINTY, measured(1, 1.0, p50=4.0)),
        ]
    )
    found = reached(table)
    tail = found["p99 at 8 connections, of p50 of LitServe"]
    assert (tail.measured, tail.met, tail.at_most) == (0.8, True, True)
    spread = found[f"p50 of {UNCERTAINTY} at 1 connection, of that of /predict"]
    assert (spread.measured, spread.met) == (2.0, False)


def test_costs_have_bounds_of_their_own() -> None:
    found = reached(summarise([visit(PREDICT, measured(1, 1.0), ready=1.6, idle=110_000_000)]))
    assert (found["idle memory, MB"].measured, found["idle memory, MB"].met) == (110, True)
    assert (found["start to first answer, s"].measured, found["start to first answer, s"].met) == (1.6, False)


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {(goal.measured, goal.met) for goal in goals({})} == {(None, None)}
    alone = reached(summarise([visit(PREDICT, measured(1, 1.0))]))
    assert alone[f"requests a second at 64 connections, of those of {NAIVE}"].met is None
