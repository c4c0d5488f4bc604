"""What was counted, and what is so at this moment, as Prometheus reads it."""

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

QUEUE_DEPTH = Family("dropserve_queue_depth", "Long requests waiting or being worked on.", (), "gauge")
QUEUE_SECONDS = Family("dropserve_queue_seconds", "Estimated work that these still need.", (), "gauge")
WORKERS = Family("dropserve_workers", "Processes that are counted here.", (), "gauge")
LOADED = Family("dropserve_model_loaded", "Versions that serve.", ("model", "version"), "gauge")
REFUSED = Family("dropserve_model_refused", "Versions found damaged; /readyz says why.", ("model", "version"), "gauge")

FAMILIES = (*COUNTED, QUEUE_DEPTH, QUEUE_SECONDS, WORKERS, LOADED, REFUSED)

SECONDS_BETWEEN_WRITES = 1.0

GONE_KEPT = 10
"""Versions of which the numbers stay when they are there no more, the youngest: readers come now and then, and should
see the last of them.
"""

log = structlog.get_logger(__name__)


class Exposition:
    """What `/metrics` tells: the sum over all workers, whichever of them is asked."""

    def __init__(self, metrics: Metrics, scheduler: Scheduler, repository: Repository, slot: Slot | None) -> None:
        self._metrics = metrics
        self._scheduler = scheduler
        self._repository = repository
        self._slot = slot
        self._before = {family: sum(metrics.numbers.get((family.name,), ())) for family in (STEPS, LOG_LINES_DROPPED)}
        """What predecessors counted of what is counted elsewhere."""
        self._process = ProcessCollector(registry=None)

    def expose(self, accept: str) -> tuple[bytes, str]:
        """The metrics and their content type; `accept` says whether the reader knows OpenMetrics."""
        others = self._slot.read_others() if self._slot else []
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Sum(add_up([self._numbers(), *others]) | self._models(), self._process))
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    async def share(self) -> None:
        """Write this worker's numbers for the others, every second, until cancelled."""
        while self._slot:
            try:
                self._slot.write(self._numbers())
            except OSError as error:
                log.warning("metrics cannot be shared between workers", reason=str(error))
            await asyncio.sleep(SECONDS_BETWEEN_WRITES)

    def close(self) -> None:
        """Leave what was counted to a successor."""
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
        """The same in every worker, hence not added up."""
        numbers: Numbers = {}
        for found in self._repository.index():
            if found.state == "ready":
                numbers[LOADED.name, found.name, str(found.version)] = [1]
            if found.reason not in ("", LOADING, UNLOADED):
                numbers[REFUSED.name, found.name, str(found.version)] = [1]
        return numbers


class _Sum(Collector):
    """Numbers as prometheus_client takes them."""

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
        """A process metric under its usual name and meaning, with a label for the worker."""
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
