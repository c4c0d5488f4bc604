"""Twice the capacity, and then half of it: answers, refusals, memory, and recovery."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType

import httpx

from service.engine.cuts import MAX_ROW_PASSES_PER_RUN
from tests.service.processes import Service, service, worker_pids
from tools.soak.canary import CASES, ROWS, learn_answers, publish_canary
from tools.soak.memory import FLAT, growth, is_flat, over_time, resident_mb, watched
from tools.soak.processors import halves, only_on
from tools.soak.report import Report
from tools.soak.traffic import ANSWERED, Case, load_at_rate, measure_capacity

DEADLINE = 2.0
"""The request timeout in seconds."""
SHORT_DEADLINE = {"DROPSERVE_REQUEST_TIMEOUT": str(DEADLINE)}
PLAIN: Mapping[str, str] = MappingProxyType({})
SLACK = 1.0
"""Seconds beyond it for the reply, as the load generator shares the processors."""
LARGEST = {"predict": MAX_ROW_PASSES_PER_RUN, "uncertainty": 64}
"""Rows of requests that make the largest runs of both graphs."""
MOST_AT_ONCE = 3000
"""Concurrent callers, more than twice the capacity within the deadline."""


@contextmanager
def canary_service(
    folder: Path, settings: Mapping[str, str] = PLAIN, *, workers: int = 2
) -> Iterator[tuple[Service, str, list[Case]]]:
    """Run a service of the canary; yield it, its address, and the cases.

    The service has the first half of the processors, the block the second.
    """
    models = publish_canary(folder / "models")
    options = ("--models", str(models), "--workers", str(workers))
    answering, asking = halves()
    with ExitStack() as stack:
        with only_on(answering):
            running = stack.enter_context(service(folder, *options, **settings))
        with only_on(asking):
            yield running, str(running.client.base_url), learn_answers(running.client)


def load_largest(url: str, cases: list[Case], seconds: float) -> None:
    """Send the largest requests to each worker, and the most at once, as onnxruntime and the C library keep that
    memory.
    """
    for name, rows in LARGEST.items():
        path, body = CASES[name]
        for _ in range(16):  # on new connections, which are distributed over the workers
            answer = httpx.post(url + path, json=body | {"inputs": (ROWS * (rows // len(ROWS)))})
            assert answer.status_code == ANSWERED, answer.text
    measure_capacity(url, cases, seconds, MOST_AT_ONCE)


def best_capacity(url: str, cases: list[Case], seconds: float) -> float:
    """Return the best of five measurements, which vary with the distribution of connections over workers."""
    return max(measure_capacity(url, cases, seconds) for _ in range(5))


def overload(folder: Path, seconds: float) -> Report:
    """Run at twice the capacity, measured before and after; then at half of it."""
    shortly = min(5.0, seconds / 3)
    with canary_service(folder, SHORT_DEADLINE) as (running, url, cases):
        capacity = best_capacity(url, cases, shortly)
        fresh = sum(map(resident_mb, worker_pids(running)))
        load_largest(url, cases, shortly)
        with watched(lambda: worker_pids(running)) as samples:
            during = load_at_rate(url, cases, 2 * capacity, seconds)
        back = best_capacity(url, cases, shortly)
        after = load_at_rate(url, cases, capacity / 2, min(10.0, seconds))
    fell = after[0].at
    refused_last = max((each.at - fell for each in after if each.end != ANSWERED), default=0.0)
    latencies, bound_ms = during.latencies(), 1e3 * (DEADLINE + SLACK)
    memory = growth(samples)
    figures = {
        "seconds": seconds,
        "capacity_per_second": capacity,
        "capacity_after_per_second": back,
        "asked_per_second": 2 * capacity,
        "requests": len(during),
        "answered_per_second": during.count(ANSWERED) / seconds,
        "ends": during.table(),
        "wrong": during.wrong + after.wrong,
        **latencies,
        "bound_ms": bound_ms,
        "memory": memory | {"fresh_mb": fresh},
        "over_time": {"requests": during.over_time(), "memory": over_time(samples)},
        "after": {"requests": len(after), "last_refused_after_s": refused_last, **after.latencies()},
    }
    return Report(
        figures,
        {
            "every request is answered, or refused with 429, 503 or 504": during.unruly == 0,
            "every answer is right to the byte, every refusal in form": during.wrong + after.wrong == 0,
        },
        {
            "the load generator was on time, within a second; else the machine was too busy": (
                latencies["late_p99_ms"] < 1e3
            ),
            "the 99th percentile of the answers, from the time of sending, stays below the deadline and a second": (
                latencies["served_p99_ms"] < bound_ms
            ),
            FLAT: is_flat(memory),
            "the capacity is back at once: nine tenths of it, right after": back > 0.9 * capacity,
            "a second after the load has fallen, nothing is refused": refused_last < 1.0,
        },
    )
