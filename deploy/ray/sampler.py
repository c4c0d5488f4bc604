"""A replica that does pieces of requests for ingresses; it has no state but its models, so it may die at any time."""

import asyncio
from typing import Any

from service import Settings
from service.engine.engine import Engine
from service.engine.masks import MaskCache
from service.engine.pieces import ModelKey, Piece
from service.errors import DropserveError, NotReady
from service.repository.repository import open_repository
from service.telemetry.logs import configure_logging


class Sampler:
    """A worker with the same models as the ingress, which it refreshes for a piece of an unknown one."""

    def __init__(self, settings: Settings) -> None:
        """Load the models."""
        configure_logging(settings.log_level)
        self._repository = open_repository(settings, MaskCache(settings.mask_cache_bytes))
        self._repository.refresh()
        self._refreshing = asyncio.Lock()
        self._working = asyncio.Lock()

    async def do(self, piece: Piece) -> Any:
        """Return the result of a piece. Raises NotReady if its model cannot be loaded here."""
        engine = self._find(piece.model) or await self._look_for(piece.model)
        async with self._working:  # the next piece waits here already
            return await asyncio.to_thread(engine.do, piece)

    async def _look_for(self, model: ModelKey) -> Engine:
        async with self._refreshing:
            if self._find(model) is None:
                await asyncio.to_thread(self._repository.refresh)
        if engine := self._find(model):
            return engine
        raise NotReady(f"{model.name}/{model.version} is not the same here as at the ingress")

    def _find(self, model: ModelKey) -> Engine | None:
        try:
            engine = self._repository.find(model.name, model.version)
        except DropserveError:
            return None
        return engine if engine.key == model else None
