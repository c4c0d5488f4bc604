"""The capacity model: costs found again, waits as in theory, plans that follow."""

import json
from math import inf

import numpy as np
import pytest

from benchmarks.scaling.capacity import Capacity, Costs, Kind, Measured, fit
from benchmarks.scaling.plan import UTILISATION, plan
from benchmarks.scaling.queueing import busiest, quantile, waits
from tools.docs.make_scaling import sections

CAPACITY = Capacity(predict=Costs(1e-4, 2e-6), uncertainty=Costs(2e-4, 3e-6, 5e-7, 8e-7))
ASKS = [Kind(rows, passes) for rows in (1, 4, 16) for passes in (0, 10, 100)]


def measured(ask: Kind) -> Measured:
    cost = CAPACITY.cost(ask)
    return Measured(ask, cost, 1 / cost, 1e3 * cost, 2e3 * cost, 100, 200)


def test_costs_are_found_again() -> None:
    found = fit([measured(ask) for ask in ASKS])
    np.testing.assert_allclose(found.predict, CAPACITY.predict, rtol=1e-6)
    np.testing.assert_allclose(found.uncertainty, CAPACITY.uncertainty, rtol=1e-6)


def test_no_cost_is_below_zero() -> None:
    cheaper_with_rows = [measured(Kind(1, 0)), measured(Kind(64, 0))._replace(cpu_seconds=1e-5)]
    assert min(fit([*cheaper_with_rows, measured(Kind(1, 10))]).predict) >= 0


@pytest.mark.parametrize("utilisation", [0.3, 0.5, 0.8])
def test_the_mean_wait_is_that_of_pollaczek_and_khinchine(utilisation: float) -> None:
    assert waits(utilisation).mean() == pytest.approx(utilisation / (2 * (1 - utilisation)), rel=0.05)


def test_the_share_that_does_not_wait_is_the_idle_share() -> None:
    assert np.mean(waits(0.7) == 0) == pytest.approx(0.3, abs=0.01)


def test_the_busiest_is_the_last_that_is_fast_enough() -> None:
    found = busiest(5.0)
    assert quantile(found, 0.99) <= 5 < quantile(found + 0.01, 0.99)
    assert busiest(-1.0) == 0


def test_a_plan_has_cores_for_the_cpu_time_at_its_utilisation() -> None:
    (planned,) = plan(CAPACITY, [(Kind(1, 100), 1000)], p99_seconds=1, price=0.036)
    assert planned.utilisation == UTILISATION
    assert planned.cores == pytest.approx(1000 * CAPACITY.cost(Kind(1, 100)) / UTILISATION)
    assert planned.price_per_million == pytest.approx(planned.cores * 0.036 / 3600 * 1000)


def test_a_tighter_deadline_takes_more_cores_and_one_below_the_cost_cannot_be_met() -> None:
    ask = Kind(1, 100)
    loads = [(ask, 1000.0)]
    (loose,), (tight,) = (list(plan(CAPACITY, loads, seconds, 0)) for seconds in (1, 2 * CAPACITY.cost(ask)))
    assert tight.cores > loose.cores
    (never,) = plan(CAPACITY, loads, CAPACITY.cost(ask) / 2, 0)
    assert never.cores == inf


def test_the_page_tells_what_was_found() -> None:
    asks = {**measured(Kind(1, 10))._asdict(), "ask": Kind(1, 10)._asdict()}
    found = {
        "command": "python -m benchmarks.scaling",
        "when": "2020-01-01T00:00:00",
        "machine": "a machine",
        "model": "toy/1",
        "measured": [asks],
        "capacity": {route: costs._asdict() for route, costs in CAPACITY._asdict().items()},
        "checks": [{"ask": {"rows": 2, "passes": 5}, "said_per_second": 200.0, "measured_per_second": 150.0}],
        "waited": [{"utilisation": 0.5, "per_second": 10, "a": 1, "b": 2, "c": 3, "d": 4}],
        "batched": [{"connections": 1, **asks}],
        "p99_ms": 50,
        "price": 0.04,
        "plans": [
            {
                "ask": {"rows": 1, "passes": 10},
                "per_second": 1000,
                "utilisation": 0.7,
                "cores": 0.3,
                "price_per_million": 0.003,
            }
        ],
    }
    text = "\n".join(sections(json.loads(json.dumps(found))))
    assert "| 2 × 5 | 200 | 150 | 0.75 |" in text
    assert "| `/uncertainty`, 10 passes | 20 |" in text
