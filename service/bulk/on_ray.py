"""Score the pieces of a job on the processes and machines of a Ray cluster; the only module that imports ray.

Ray Data keeps a pool of actors with the model loaded, and repeats a piece if its actor dies. A piece done twice is the
same file under the same name, so no row is written twice.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext, from_items

from service.bulk.plan import Piece, Plan
from service.bulk.scoring import choose_model
from service.bulk.store import Store
from service.bulk.work import Done, score_piece
from service.config import Settings
from service.engine.masks import MaskCache
from service.errors import DropserveError, InvalidInput
from service.loading.load import load_model


class Worker:
    """An actor of the pool."""

    def __init__(self, plan: Plan, out: str, model: str | None, settings: Settings) -> None:
        """Load the model. Raises InvalidInput unless it is the plan's."""
        self._plan = plan
        self._out = Store(out)
        self._engine = load_model(choose_model(model, settings), MaskCache(settings.mask_cache_bytes))
        if self._engine.key != plan.key:
            raise InvalidInput(f"{plan.model}/{plan.version}: this machine has another by this name", field="model")

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Score a piece; an error is returned rather than raised, as Ray would retry the piece."""
        piece = Piece(**row)
        try:
            return {"refusal": "", **score_piece(self._engine, self._plan.options, piece, self._out)._asdict()}
        except DropserveError as error:
            return {"refusal": error.message, **Done(0, 0.0)._asdict()}


def score_on_ray(
    plan: Plan, out: Store, model: str | None, settings: Settings, workers: int | None, todo: Sequence[Piece]
) -> Iterator[Done]:
    """Score the pieces on the cluster of RAY_ADDRESS, or on a local one; yield them in order of completion.

    Raises InvalidInput as `score_piece` does.
    """
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    DataContext.get_current().enable_progress_bars = False
    pool = ActorPoolStrategy(size=workers) if workers else ActorPoolStrategy(min_size=1, max_size=_room())
    pieces = from_items([piece._asdict() for piece in todo], override_num_blocks=len(todo))
    given = {"plan": plan, "out": out.place, "model": model, "settings": settings}
    for row in pieces.map(Worker, fn_constructor_kwargs=given, compute=pool, num_cpus=1).iter_rows():
        if refusal := row.pop("refusal"):
            raise InvalidInput(refusal)
        yield Done(**row)


def _room() -> int:
    """Return the number of actors for which the cluster has processors."""
    return max(1, int(ray.cluster_resources().get("CPU", 1.0)))
