"""The samplers as an ingress uses them: a piece whose sampler died goes to another."""

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from service.engine.pieces import Piece

PIECES_PER_SAMPLER = 2
"""At a time: one that it does, and the next, which is there when that is done."""
ATTEMPTS = 5

log = structlog.get_logger(__name__)


class RayWorkers:
    """Pieces go to whichever sampler has room; those that wait for one make Serve start more."""

    def __init__(self, samplers: DeploymentHandle, size: int) -> None:
        self.size = size
        self._samplers = samplers

    async def do(self, pieces: Sequence[Piece]) -> list[Any]:
        """What came of each piece, or None. When it is cancelled, so are they."""
        return await asyncio.gather(*(self._do(piece) for piece in pieces))

    async def _do(self, piece: Piece) -> Any:
        for _ in range(ATTEMPTS):
            asked = self._samplers.do.remote(piece)
            try:
                return await asked
            except asyncio.CancelledError:
                asked.cancel()
                raise
            except RayTaskError as error:  # the sampler lives, and refuses
                log.warning("a sampler refused a piece", model=piece.model.name, reason=str(error.cause))
                return None
            except (RayError, RayServeException) as error:
                log.warning("a sampler was lost; the piece is asked again", reason=type(error).__name__)
        return None
