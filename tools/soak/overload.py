"""Twice what the service can do, and then half: who is answered, who is refused, what it costs, and how it ends."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType

import httpx

from service.engine.cuts import MAX_ROW_PASSES_PER_RUN
from tests.service.processes import Service, service, worker_pids
from tools.soak.memory import FLAT, growth, is_flat, over_time, resident_mb, watched
from tools.soak.processors import halves, only_on
from tools.soak.questions import ASKED, ROWS, learn_answers, publish_canary
from tools.soak.report import Report
from tools.soak.traffic import ANSWERED, Question, ask_at_rate, measure_capacity

DEADLINE = 2.0
"""Seconds that the service allows a request."""
SHORT_DEADLINE = {"DROPSERVE_REQUEST_TIMEOUT": str(DEADLINE)}
PLAIN: Mapping[str, str] = MappingProxyType({})
SLACK = 1.0
"""Seconds beyond it in which the word of it may still travel, where callers take the processor too."""
LARGEST = {"predict": MAX_ROW_PASSES_PER_RUN, "uncertainty": 64}
"""Rows of questions that make the largest runs of both graphs."""
MOST_AT_ONCE = 3000
"""Callers: more than twice the capacity makes in the deadline."""


@contextmanager
def canary_service(
    folder: Path, settings: Mapping[str, str] = PLAIN, *, workers: int = 2
) -> Iterator[tuple[Service, str, list[Question]]]:
    """A service of the canary, its address, and the questions with their answers; the service has the first half of
    the processors, the block the second.
    """
    models = publish_canary(folder / "models")
    options = ("--models", str(models), "--workers", str(workers))
    answering, asking = halves()
    with ExitStack() as stack:
        with only_on(answering):
            running = stack.enter_context(service(folder, *options, **settings))
        with only_on(asking):
            yield running, str(running.client.base_url), learn_answers(running.client)


def ask_for_most(url: str, questions: list[Question], seconds: float) -> None:
    """The largest questions, of each worker, and the most at once: the memory for them is kept, by onnxruntime and by
    the system's library, so that what memory grows by afterwards is lost.
    """
    for name, rows in LARGEST.items():
        path, body = ASKED[name]
        for _ in range(16):  # on new connections, which the workers share out among them
            answer = httpx.post(url + path, json=body | {"inputs": (ROWS * (rows // len(ROWS)))})
            assert answer.status_code == ANSWERED, answer.text
    measure_capacity(url, questions, seconds, MOST_AT_ONCE)


def best_capacity(url: str, questions: list[Question], seconds: float) -> float:
    """Of five measurements, which differ by a fifth with how the system shares out the connections to the workers."""
    return max(measure_capacity(url, questions, seconds) for _ in range(5))


def overload(folder: Path, seconds: float) -> Report:
    """So long at twice the capacity, which is measured before and right after; then at half of it."""
    shortly = min(5.0, seconds / 3)
    with canary_service(folder, SHORT_DEADLINE) as (running, url, questions):
        capacity = best_capacity(url, questions, shortly)
        fresh = sum(map(resident_mb, worker_pids(running)))
        ask_for_most(url, questions, shortly)
        with watched(lambda: worker_pids(running)) as samples:
            during = ask_at_rate(url, questions, 2 * capacity, seconds)
        back = best_capacity(url, questions, shortly)
        after = ask_at_rate(url, questions, capacity / 2, min(10.0, seconds))
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
            "the callers were on time, within a second; else the machine was too busy to tell": (
                latencies["late_p99_ms"] < 1e3
            ),
            "the 99th percentile of what is answered, from when it was sent, stays below the deadline and a second": (
                latencies["served_p99_ms"] < bound_ms
            ),
            FLAT: is_flat(memory),
            "the capacity is back at once: nine tenths of it, right after": back > 0.9 * capacity,
            "a second after the load has fallen, nothing is refused": refused_last < 1.0,
        },
    )
