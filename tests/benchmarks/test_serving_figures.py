"""Visits → medians → goals."""

import pytest

from benchmarks.serving.contenders import LOGGED, NAIVE, PREDICT, UNCERTAINTY, at
from benchmarks.serving.figures import Table, summarise
from benchmarks.serving.goals import Goal, goals
from benchmarks.serving.load import Load
from benchmarks.serving.measuring import Measured, Visit

SECONDS = 2.0
COMMIT = "1cda6bc"


def measured(
    connections: int, rate: float, p50: float = 1.0, p99: float = 2.0, refused: int = 0, cpu_us: float = 100.0
) -> Measured:
    """So many answers a second; others take a tenth of a core."""
    requests = int(SECONDS * rate) + refused
    load = Load(requests, SECONDS, p50, p99, refused, broken=1)
    return Measured(connections, load, cpu_seconds=1e-6 * cpu_us * requests, other_cpu_seconds=0.1 * SECONDS)


def visit(contender: str, *loads: Measured, workers: int = 1, ready: float = 1.0, idle: int = 100_000_000) -> Visit:
    return Visit("small", workers, contender, ready, idle, 2 * idle, loads, products={8: 1e-4})


def reached(table: Table) -> dict[str, Goal]:
    return {goal.text: goal for goal in goals(table, COMMIT)}


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


def test_products_are_medians_by_rows() -> None:
    times = ({1: 2e-4, 8: 1e-4}, {1: 4e-4, 8: 2e-4}, {1: 9e-4, 8: 1e-3})
    table = summarise(visit(UNCERTAINTY, measured(64, 1.0))._replace(products=one) for one in times)
    assert table["small", 1, UNCERTAINTY].products_us == {1: pytest.approx(400), 8: pytest.approx(200)}


def test_ratios_of_rates_must_reach_their_bound() -> None:
    table = summarise([visit(PREDICT, measured(64, 1200.0)), visit(NAIVE, measured(64, 200.0))])
    goal = reached(table)[f"requests a second at 64 connections: /predict ÷ {NAIVE}"]
    assert (goal.bound, goal.measured, goal.met, goal.at_most) == (6, 6, True, False)
    assert goal._replace(bound=6.1).met is False


def test_a_setting_may_cost_a_tenth() -> None:
    table = summarise([visit(PREDICT, measured(64, 100.0)), visit(LOGGED, measured(64, 89.0))])
    goal = reached(table)["requests a second at 64 connections: /predict, access log ÷ /predict"]
    assert (goal.bound, goal.measured, goal.met) == (0.9, 0.89, False)


def test_the_baseline_is_the_build_of_its_commit() -> None:
    one = {count: measured(count, 30.0) for count in (1, 64)}
    table = summarise([visit(UNCERTAINTY, *one.values()), visit(at(COMMIT, UNCERTAINTY), measured(1, 15.0))])
    found = reached(table)
    text = f"/uncertainty, 100 samples ÷ Dropserve at {COMMIT} /uncertainty, 100 samples"
    assert found[f"requests a second at 1 connection: {text}"].met is True
    assert found[f"requests a second at 64 connections: {text}"].met is None


def test_sampling_is_compared_with_its_products_at_their_fastest() -> None:
    sampled = visit(UNCERTAINTY, measured(64, 5000.0))._replace(products={1: 9e-4, 8: 1e-4, 64: 2e-4})
    goal = reached(summarise([sampled]))[
        "time a request at 64 connections: /uncertainty, 100 samples ÷ its matrix products"
    ]
    assert goal.measured == pytest.approx(2)
    assert (goal.met, goal.at_most) == (False, True)


def test_two_workers_are_compared_with_one_by_cpu_time() -> None:
    table = summarise([visit(PREDICT, measured(64, 100.0)), visit(PREDICT, measured(64, 100.0, cpu_us=125), workers=2)])
    goal = reached(table)["requests a CPU second at 64 connections: /predict, two workers ÷ one"]
    assert goal.measured == pytest.approx(0.8)
    assert goal.met is False


def test_ratios_of_times_must_not_exceed_their_bound() -> None:
    latencies = (measured(8, 1.0, p50=3.0, p99=6.0), measured(64, 1.0, p50=3.0, p99=7.5))
    found = reached(summarise([visit(PREDICT, *latencies)]))
    some, many = (found[f"p99 ÷ p50 at {count} connections: /predict"] for count in (8, 64))
    assert (some.measured, some.met, some.at_most) == (2.0, True, True)
    assert (many.measured, many.met) == (2.5, False)


def test_costs_have_bounds_of_their_own() -> None:
    found = reached(summarise([visit(PREDICT, measured(1, 1.0), ready=0.7, idle=100_000_000)]))
    assert (found["idle memory, MB"].measured, found["idle memory, MB"].met) == (100, True)
    assert (found["start to first answer, s"].measured, found["start to first answer, s"].met) == (0.7, False)


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {(goal.measured, goal.met) for goal in goals({}, COMMIT)} == {(None, None)}
    alone = reached(summarise([visit(PREDICT, measured(1, 1.0))]))
    assert alone[f"requests a second at 64 connections: /predict ÷ {NAIVE}"].met is None
