"""When to look at the models again: as soon as the operating system tells of a change, and every so often anyway.

The second is for what no operating system tells: a store behind a URL, a network file system, a folder that is
not there yet, a link that leads elsewhere since.
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
    """Load the models and keep them as they should be, until cancelled."""
    folders = repository.watched
    await keep_fresh(repository, changes(*folders, poll_seconds=settings.poll_seconds, watch=settings.watch))


async def keep_fresh(repository: Repository, changes: AsyncIterator[None]) -> None:
    """Refresh now and at every change, in a thread, until cancelled."""
    while True:
        change = asyncio.ensure_future(anext(changes))
        try:
            await asyncio.sleep(0)  # it begins to listen before we look, so that nothing in between is missed
            await refresh(repository)
            await change
        finally:
            change.cancel()
            await asyncio.wait([change])


async def changes(*folders: Path, poll_seconds: float, watch: bool = True) -> AsyncIterator[None]:
    """Something changed below the folders, or `poll_seconds` have passed."""
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
        except Exception as error:  # noqa: BLE001 - without events, of whatever reason, polling goes on
            log.info("no events of the folder of models; it is looked at from time to time", reason=str(error))
        await asyncio.sleep(poll_seconds)
        yield


async def refresh(repository: Repository) -> None:
    """Look at the models once, in a thread; whatever goes wrong is logged."""
    try:
        await asyncio.to_thread(repository.refresh)
    except Exception as error:
        log.error("the models could not be looked at", exc_info=error)
