"""Expose counters and the current state in Prometheus' formats."""

import asyncio
from collections.abc import Iterable, Iterator
from itertools import accumulate

import structlog
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from service.repository.catalogue import LOADING, UNLOADED
from service.repository.repository import Repository
from service.telemetry.log_writer import count_dropped
from service.telemetry.metrics import COUNTED, LOG_LINES_DROPPED, STEPS, Family, Key, Metrics, Numbers, add_up
from service.telemetry.workers import Slot
from service.work.scheduling import Scheduler

QUEUE_DEPTH = Family("dropserve_queue_depth", "Long requests waiting or running.", (), "gauge")
QUEUE_SECONDS = Family("dropserve_queue_seconds", "Estimated seconds of work left of these requests.", (), "gauge")
WORKERS = Family("dropserve_workers", "Worker processes included in these metrics.", (), "gauge")
LOADED = Family("dropserve_model_loaded", "Versions that are ready.", ("model", "version"), "gauge")
REFUSED = Family(
    "dropserve_model_refused",
    "Versions that could not be loaded; /readyz has the reason.",
    ("model", "version"),
    "gauge",
)

FAMILIES = (*COUNTED, QUEUE_DEPTH, QUEUE_SECONDS, WORKERS, LOADED, REFUSED)

SECONDS_BETWEEN_WRITES = 1.0

GONE_KEPT = 10
"""The number of removed versions whose counters stay, so that scrapes still see their last values."""

log = structlog.get_logger(__name__)


class Exposition:
    """The content of `/metrics`: sums over all workers, the same from each of them."""

    def __init__(self, metrics: Metrics, scheduler: Scheduler, repository: Repository, slot: Slot | None) -> None:
        """Expose one worker's counters, queue and models; `slot` shares them between workers."""
        self._metrics = metrics
        self._scheduler = scheduler
        self._repository = repository
        self._slot = slot
        self._before = {family: sum(metrics.numbers.get((family.name,), ())) for family in (STEPS, LOG_LINES_DROPPED)}
        """Values of predecessors, for counters that start at 0 in each process."""
        self._process = ProcessCollector(registry=None)

    def expose(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics and their content type, Prometheus' or OpenMetrics by the header `accept`."""
        others = self._slot.read_others() if self._slot else []
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Sum(add_up([self._numbers(), *others]) | self._models(), self._process))
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    async def share(self) -> None:
        """Write this worker's numbers for the others every second, until cancelled."""
        while self._slot:
            try:
                self._slot.write(self._numbers())
            except OSError as error:
                log.warning("metrics cannot be shared between workers", reason=str(error))
            await asyncio.sleep(SECONDS_BETWEEN_WRITES)

    def close(self) -> None:
        """Pass the counters on to a successor."""
        if self._slot:
            self._slot.close(self._numbers())

    def _numbers(self) -> Numbers:
        self._forget_gone()
        worker = str(self._slot.number if self._slot else 0)
        samples = [sample for metric in self._process.collect() for sample in metric.samples]
        return {
            **self._metrics.numbers,
            (STEPS.name,): [self._before[STEPS] + self._scheduler.steps_taken],
            (LOG_LINES_DROPPED.name,): [self._before[LOG_LINES_DROPPED] + count_dropped()],
            (QUEUE_DEPTH.name,): [self._scheduler.depth],
            (QUEUE_SECONDS.name,): [self._scheduler.remaining],
            (WORKERS.name,): [1],
            **{(sample.name, worker): [sample.value] for sample in samples},
        }

    def _forget_gone(self) -> None:
        there = {(each.name, str(each.version)) for each in self._repository.index()}
        gone = [version for version in self._metrics.versions() if version not in there]
        self._metrics.forget(gone[:-GONE_KEPT])

    def _models(self) -> Numbers:
        """Return the gauges of models, which are the same in every worker and not summed."""
        numbers: Numbers = {}
        for found in self._repository.index():
            if found.state == "ready":
                numbers[LOADED.name, found.name, str(found.version)] = [1]
            if found.reason not in ("", LOADING, UNLOADED):
                numbers[REFUSED.name, found.name, str(found.version)] = [1]
        return numbers


class _Sum(Collector):
    """A collector of numbers for prometheus_client."""

    def __init__(self, numbers: Numbers, process: ProcessCollector) -> None:
        self._numbers = sorted(numbers.items())
        self._process = process

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES:
            yield _metric(family, [(key[1:], numbers) for key, numbers in self._numbers if key[0] == family.name])
        for described in self._process.collect():
            yield self._by_worker(described)
        yield from PlatformCollector(registry=None).collect()

    def _by_worker(self, described: Metric) -> Metric:
        """Return a process metric under its usual name, with a label for the worker."""
        name = described.samples[0].name
        family = Family(described.name, described.documentation, ("worker",), described.type)
        return _metric(family, [(key[1:], numbers) for key, numbers in self._numbers if key[0] == name])


def _metric(family: Family, series: Iterable[tuple[Key, list[float]]]) -> Metric:
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.meaning, labels=family.labels)
        for labels, numbers in series:
            histogram.add_metric(labels, buckets=_cumulative(family, numbers), sum_value=numbers[-1])
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.meaning, labels=family.labels)
    for labels, numbers in series:
        metric.add_metric(labels, numbers[0])
    return metric


def _cumulative(family: Family, numbers: list[float]) -> list[tuple[str, float]]:
    bounds = map(floatToGoString, (*family.bounds, float("inf")))
    return list(zip(bounds, accumulate(numbers[:-1]), strict=True))
