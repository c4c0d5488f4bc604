"""Build the ASGI application from the settings, without global state."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

import structlog

from service.access.admission import Admission, Tracer
from service.access.calls import ASGIApp
from service.access.certificate import Certificate
from service.access.credentials import Credentials
from service.config import Settings
from service.engine.masks import MaskCache
from service.engine.stages import Intervals, Stopwatch
from service.extras import remedy
from service.http.connection import Limits
from service.http.deferred import Deferred
from service.http.draining import Drain
from service.http.gate import Gate
from service.http.heads import KnownHeads
from service.http.lifespan import Lifespan, State
from service.http.open_files import room_for
from service.http.prefix import Prefixed
from service.http.probes import Probes
from service.oip.http import OpenInference
from service.repository.repository import Repository, open_repository
from service.repository.watching import refresh, watch_repository
from service.review.log import PredictionLog
from service.review.opening import open_store
from service.review.store import Store
from service.telemetry.exposition import Exposition
from service.telemetry.metrics import LOG_FAILURES, LOGGED, Metrics
from service.telemetry.workers import Slot
from service.turn import Turns
from service.work.scheduling import RemoteWorkers, Scheduler

log = structlog.get_logger(__name__)

COLLECTORS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""The variables of OpenTelemetry that configure a collector."""

SECONDS_FOR_THE_LOG = 5.0
"""Seconds at shutdown to write the rest of the prediction log."""


def create_app(
    settings: Settings | None = None,
    remote_workers: RemoteWorkers | None = None,
    credentials: Credentials | None = None,
    drain: Drain | None = None,
) -> ASGIApp:
    """Return the ASGI application, which answers at once and is ready after the models were verified.

    Remote workers do pieces of large requests. Without credentials, those of the settings are read.
    `drain` is shared with the server that runs the application, where there is one that drains.
    """
    settings = settings or Settings()
    credentials = credentials or Credentials(settings)
    masks = MaskCache(settings.mask_cache_bytes)
    repository = open_repository(settings, masks)
    drain = drain or Drain()
    drain.on_begin(repository.stop)
    scheduler = Scheduler(settings.queue_size, settings.inline_seconds, remote_workers)
    traces = _make_traces()
    turns = Turns(scheduler, Intervals if traces else Stopwatch)
    slot = Slot(settings.state / "metrics") if settings.state and settings.workers > 1 else None
    metrics = Metrics(slot.inherited if slot else None)
    exposition = Exposition(metrics, scheduler, repository, slot)
    store = open_store(settings.prediction_log) if settings.prediction_log else None
    predictions = _log_to(store, settings) if store else None
    admission = Admission(
        metrics, access=credentials.access, traces=traces, predictions=predictions, log_all=settings.access_log
    )

    @asynccontextmanager
    async def life() -> AsyncIterator[State]:
        if predictions:
            predictions.start(_on_this_loop(metrics))
        if settings.workers > 1:  # a new worker accepts connections only once it can answer
            await refresh(repository)
        tasks = [
            asyncio.create_task(watch_repository(repository, settings)),
            asyncio.create_task(exposition.share()),
        ]
        async with _grpc(repository, turns, settings, admission, credentials.certificate):
            yield {
                "limits": Limits(room_for(settings.max_connections), settings.idle_timeout),
                "drain": drain,
                "turns": turns,
                "take": gate.take,
                "known_heads": KnownHeads(),
            }
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        scheduler.close()
        if predictions:
            await asyncio.to_thread(predictions.close, SECONDS_FOR_THE_LOG)
        exposition.close()
        if traces:
            await asyncio.to_thread(traces.close)

    site = Deferred(lambda: _make_site(settings, repository, store))
    gate = Gate(
        Lifespan(Probes(site, repository, exposition), life),
        repository,
        OpenInference(repository, settings),
        admission,
        turns,
        settings,
    )
    service = Prefixed(gate, settings.root_path) if settings.root_path else gate
    return _with_cors(service, settings.cors_origins) if settings.cors_origins else service


def _make_site(settings: Settings, repository: Repository, store: Store | None) -> ASGIApp:
    """Return FastAPI's app; its import is a quarter of the start, and 9 MB that a service without readers saves."""
    from service.http.site import make_site

    return make_site(settings, repository, store)


def _with_cors(service: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Add CORS, outside the check of keys, as browsers send preflight requests without one."""
    from starlette.middleware.cors import CORSMiddleware

    return CORSMiddleware(
        service,  # type: ignore[arg-type]  # ASGI's `receive` is a coroutine here, not any awaitable
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=["X-Request-ID", "Retry-After", "Inference-Header-Content-Length"],
    )


def _log_to(store: Store, settings: Settings) -> PredictionLog:
    return PredictionLog(
        store,
        seconds=settings.prediction_log_seconds,
        max_bytes=settings.prediction_log_queue_bytes,
        days=settings.prediction_log_days,
        keep_inputs=settings.prediction_log_inputs,
    )


def _on_this_loop(metrics: Metrics) -> Callable[[str, int], None]:
    """Return a counter for the prediction log that any thread may call."""
    loop = asyncio.get_running_loop()

    def count(fate: str, by: int) -> None:
        family, labels = (LOG_FAILURES, ()) if fate == "failed" else (LOGGED, (fate,))
        if not loop.is_closed():
            loop.call_soon_threadsafe(metrics.count, family, labels, by)

    return count


def _make_traces() -> Tracer | None:
    """Return the tracer if a collector is configured; its packages are optional."""
    if not any(os.environ.get(name) for name in COLLECTORS):
        return None
    try:
        from service.telemetry.tracing import Traces
    except ModuleNotFoundError:
        log.warning(f"a collector of traces is set, but the exporter is not installed; {remedy('tracing')}")
        return None
    return Traces()


def _grpc(
    repository: Repository,
    turns: Turns,
    settings: Settings,
    admission: Admission,
    certificate: Certificate | None,
) -> AbstractAsyncContextManager[None]:
    """Return the gRPC server if its port is set; its packages are optional."""
    if settings.grpc_port is None:
        return nullcontext()
    try:
        from service.oip.grpc_server import grpc_server
    except ModuleNotFoundError as error:
        raise RuntimeError(f"DROPSERVE_GRPC_PORT is set, and gRPC is not installed; {remedy('grpc')}") from error
    return grpc_server(repository, turns, settings, admission, certificate)
