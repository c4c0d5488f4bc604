"""The samplers as remote workers of an ingress; a piece whose sampler died goes to another."""

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from service.engine.pieces import Piece

PIECES_PER_SAMPLER = 2
"""Pieces of a sampler at a time: the current one, and the next, so that it need not wait."""
ATTEMPTS = 5

log = structlog.get_logger(__name__)


class RayWorkers:
    """Sends pieces to samplers with room; waiting pieces make Ray Serve start more samplers."""

    def __init__(self, samplers: DeploymentHandle, size: int) -> None:
        """Use the deployment `samplers`, of at least `size` replicas."""
        self.size = size
        self._samplers = samplers

    async def do(self, pieces: Sequence[Piece]) -> list[Any]:
        """Return the result of each piece, or None for a failed one; a cancellation cancels the pieces."""
        return await asyncio.gather(*(self._do(piece) for piece in pieces))

    async def _do(self, piece: Piece) -> Any:
        for _ in range(ATTEMPTS):
            task = self._samplers.do.remote(piece)
            try:
                return await task
            except asyncio.CancelledError:
                task.cancel()
                raise
            except RayTaskError as error:  # the sampler lives, but cannot do the piece
                log.warning("a sampler refused a piece", model=piece.model.name, reason=str(error.cause))
                return None
            except (RayError, RayServeException) as error:
                log.warning("a sampler was lost; the piece is retried", reason=type(error).__name__)
        return None
