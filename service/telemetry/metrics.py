"""Counters of requests and answers.

They are plain numbers changed on the event loop, for about 4 µs a request, and 1 µs where 64 are answered together:
prometheus_client's thread-safe histograms take 5 µs, and 17 µs with several processes.
`service.telemetry.exposition` writes them for Prometheus.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from service.engine.stages import STAGES
from service.engine.uncertainty import Float64

if TYPE_CHECKING:
    from service.telemetry.records import Record  # imports onnxruntime, which no supervisor needs

Key = tuple[str, ...]
"""The name of a family, followed by the values of its labels."""
Numbers = dict[Key, list[float]]
"""The number of a counter or gauge, or the counts of a histogram's buckets followed by the sum of the values."""

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STAGE_SECONDS = (0.00001, 0.000025, 0.00005, *SECONDS)
ROWS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0)
NATS = (0.0001, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)


class Family(NamedTuple):
    """A metric: its name, meaning, labels and kind."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()
    kind: str = "counter"
    bounds: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets, without infinity."""


FEW = 32
"""The number of values from which numpy counts faster than a loop."""

MODEL = ("model", "version")
REQUESTS = Family("dropserve_requests", "Requests answered; 499: the caller disconnected.", ("route", *MODEL, "status"))
REQUEST_SECONDS = Family(
    "dropserve_request_seconds", "Seconds from a request to its answer.", ("route", *MODEL), "histogram", SECONDS
)
STAGE = Family("dropserve_stage_seconds", "Seconds by stage.", ("route", "stage"), "histogram", STAGE_SECONDS)
REQUEST_ROWS = Family("dropserve_request_rows", "Rows of a request.", ("route", *MODEL), "histogram", ROWS)
ENTROPY = Family(
    "dropserve_predictive_entropy", "Total uncertainty of sampled rows, in nats.", MODEL, "histogram", NATS
)
INFORMATION = Family(
    "dropserve_mutual_information",
    "Epistemic uncertainty of sampled rows, in nats.",
    MODEL,
    "histogram",
    NATS,
)
DECISIONS = Family("dropserve_decisions", "Sampled rows accepted, and referred to a person.", (*MODEL, "decision"))
EXPLORATORY = Family(
    "dropserve_exploratory_rows",
    "Sampled rows of exploratory requests, which the entropy, information and decision metrics leave out.",
    MODEL,
)
LOGGED = Family(
    "dropserve_logged_rows", "Rows of the prediction log, written, or dropped by a full queue or at exit.", ("fate",)
)
LOG_FAILURES = Family("dropserve_log_failures", "Failed attempts to write the prediction log.")
STEPS = Family("dropserve_steps", "Steps of long requests, of a few milliseconds each.")
WORKER_DEATHS = Family("dropserve_worker_deaths", "Workers replaced because they crashed, hung or were killed.")
LOG_LINES_DROPPED = Family("dropserve_log_lines_dropped", "Log lines that stderr did not accept.")

COUNTED = (
    REQUESTS,
    REQUEST_SECONDS,
    STAGE,
    REQUEST_ROWS,
    ENTROPY,
    INFORMATION,
    DECISIONS,
    EXPLORATORY,
    LOGGED,
    LOG_FAILURES,
    STEPS,
    LOG_LINES_DROPPED,
    WORKER_DEATHS,
)
"""Families that never fall, except when removed versions are forgotten; a worker's successor continues them."""

MODEL_AT = {family.name: family.labels.index("model") + 1 for family in COUNTED if "model" in family.labels}
"""The position of the model's name in a key, by family; the version follows."""

Version = tuple[str, str]
"""The name of a model and its version, as values of labels."""
NO_MODEL: Version = ("", "")
"""The labels of requests without a model."""


class Metrics:
    """The counters of one process, to be used within one event loop."""

    def __init__(self, numbers: Numbers | None = None) -> None:
        """Continue the numbers of a predecessor, or start at 0."""
        self.numbers = numbers or {}
        # cached for each set of labels, as the lookup is most of the cost
        self._of_end = cache(self._find_end)
        self._of_stages = cache(self._find_stages)

    def count_records(self, records: "Sequence[Record]") -> None:
        """Count requests that were answered together; those with equal labels and times are added at once."""
        now = perf_counter()
        groups: dict[tuple[str, int, int, int, float, int | None], list[Record]] = {}
        for record in records:
            rows = record.outcome.rows if record.outcome else None
            key = (record.route, record.status, id(record.manifest), id(record.watch), record.started, rows)
            groups.setdefault(key, []).append(record)
        for group in groups.values():
            self._count_group(group, now)

    def count(self, family: Family, labels: Key, by: float = 1) -> None:
        """Increase a counter."""
        self._find(family, labels)[0] += by

    def observe(self, family: Family, labels: Key, values: Float64) -> None:
        """Count values (n,) in a histogram, whose buckets include their upper bounds."""
        numbers = self._find(family, labels)
        if len(values) < FEW:
            for value in values.tolist():
                _add(numbers, family.bounds, value)
            return
        buckets = np.bincount(np.searchsorted(family.bounds, values))
        for bucket, found in enumerate(buckets.tolist()):
            numbers[bucket] += found
        numbers[-1] += float(values.sum())

    def versions(self) -> list[Version]:
        """Return the versions with counters, oldest first."""
        return [version for version in dict.fromkeys(map(_version, self.numbers)) if version != NO_MODEL]

    def forget(self, versions: Collection[Version]) -> None:
        """Remove the counters of versions, each of which adds about 3 kB to every scrape."""
        for key in [key for key in self.numbers if _version(key) in versions]:
            del self.numbers[key]
        self._of_end.cache_clear()
        self._of_stages.cache_clear()

    def _count_group(self, records: "Sequence[Record]", now: float) -> None:
        """Count requests of one route, status, model, stopwatch, start and number of rows, answered at `now`."""
        first = records[0]
        name, version = (first.manifest.name, first.manifest.version) if first.manifest else ("", "")
        requests, seconds = self._of_end(first.route, name, version, first.status)
        requests[0] += len(records)
        _add(seconds, SECONDS, now - first.started, len(records))
        if first.outcome is None:
            return
        rows, stages = self._of_stages(first.route, name, version)
        _add(rows, ROWS, first.outcome.rows, len(records))
        for stage, spent in first.watch.seconds.items():
            _add(stages[stage], STAGE_SECONDS, spent, len(records))
        if first.outcome.passes:
            self._count_answers((name, str(version)), records)

    def _count_answers(self, model: Version, records: "Sequence[Record]") -> None:
        """Count the entropies, information and decisions of one model's answers with samples."""
        entropy: list[Float64 | None] = []
        information: list[Float64 | None] = []
        accepted = referred = 0
        for record in records:
            outcome = record.outcome
            if outcome is None or outcome.predictive_entropy is None:
                continue
            if record.exploratory:
                self.count(EXPLORATORY, model, outcome.rows)
                continue
            entropy.append(outcome.predictive_entropy)
            information.append(outcome.mutual_information)
            if outcome.accepted is not None:
                accepted += outcome.accepted
                referred += outcome.rows - outcome.accepted
        self._observe_each(ENTROPY, model, entropy)
        self._observe_each(INFORMATION, model, information)
        if accepted or referred:
            self.count(DECISIONS, (*model, "accept"), accepted)
            self.count(DECISIONS, (*model, "refer"), referred)

    def _observe_each(self, family: Family, labels: Key, arrays: Sequence[Float64 | None]) -> None:
        found = [array for array in arrays if array is not None]
        if found:
            self.observe(family, labels, found[0] if len(found) == 1 else np.concatenate(found))

    def _find_end(self, route: str, name: str, version: object, status: int) -> tuple[list[float], list[float]]:
        labels = (route, name, str(version))
        return self._find(REQUESTS, (*labels, str(status))), self._find(REQUEST_SECONDS, labels)

    def _find_stages(self, route: str, name: str, version: object) -> tuple[list[float], dict[str, list[float]]]:
        rows = self._find(REQUEST_ROWS, (route, name, str(version)))
        return rows, {stage: self._find(STAGE, (route, stage)) for stage in STAGES}

    def _find(self, family: Family, labels: Key) -> list[float]:
        key = (family.name, *labels)
        found = self.numbers.get(key)
        if found is None:
            size = len(family.bounds) + 2 if family.bounds else 1
            found = self.numbers[key] = [0.0] * size
        return found


def _version(key: Key) -> Version:
    at = MODEL_AT.get(key[0])
    return (key[at], key[at + 1]) if at else NO_MODEL


def _add(numbers: list[float], bounds: tuple[float, ...], value: float, times: int = 1) -> None:
    """Count a value so many times in a histogram, whose buckets include their upper bounds."""
    numbers[bisect_left(bounds, value)] += times
    numbers[-1] += times * value


def keep_counted(numbers: Numbers) -> Numbers:
    """Return the numbers without gauges."""
    names = {family.name for family in COUNTED}
    return {key: value for key, value in numbers.items() if key[0] in names}


def add_up(parts: Iterable[Numbers]) -> Numbers:
    """Return the sums of the numbers of several workers."""
    total: Numbers = {}
    for part in parts:
        for key, numbers in part.items():
            total[key] = [a + b for a, b in zip(total[key], numbers, strict=True)] if key in total else list(numbers)
    return total
