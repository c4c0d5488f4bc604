"""Watch the models: refresh them on events of the operating system, and at regular intervals.

The intervals are for changes without events: in a store behind a URL, on a network file system, in a folder that does
not exist yet, and of a link's target.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import structlog
from watchfiles import awatch

from service.config import Settings
from service.repository.repository import Repository

log = structlog.get_logger(__name__)


async def watch_repository(repository: Repository, settings: Settings) -> None:
    """Load the models and keep them current, until cancelled."""
    folders = repository.watched
    await keep_fresh(repository, changes(*folders, poll_seconds=settings.poll_seconds, watch=settings.watch))


async def keep_fresh(repository: Repository, changes: AsyncIterator[None]) -> None:
    """Refresh now and after every change, in a thread, until cancelled."""
    while True:
        change = asyncio.ensure_future(anext(changes))
        try:
            await asyncio.sleep(0)  # the watch begins before the refresh, so that no change in between is missed
            await refresh(repository)
            await change
        finally:
            change.cancel()
            await asyncio.wait([change])


async def changes(*folders: Path, poll_seconds: float, watch: bool = True) -> AsyncIterator[None]:
    """Yield after each change below the folders, and after every `poll_seconds`."""
    milliseconds = max(1, round(poll_seconds * 1000))
    while True:
        try:
            if watch and folders:
                events = awatch(
                    *folders,
                    watch_filter=None,
                    rust_timeout=milliseconds,
                    yield_on_timeout=True,
                    ignore_permission_denied=True,
                )
                async for _ in events:
                    yield
        except Exception as error:  # noqa: BLE001 - without events, for any reason, polling continues
            log.info("the folder of models sends no events; it is polled", reason=str(error))
        await asyncio.sleep(poll_seconds)
        yield


async def refresh(repository: Repository) -> None:
    """Refresh the models once, in a thread, and log any error."""
    try:
        await asyncio.to_thread(repository.refresh)
    except Exception as error:
        log.error("the models could not be refreshed", exc_info=error)
