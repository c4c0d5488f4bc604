"""A cell of the table: a network, rows and threads, and the time of each contender."""

from statistics import median
from typing import NamedTuple

from benchmarks.sampling.contenders import (
    LARGE_PRODUCT,
    LAYER_PRODUCTS,
    NEW_SEED,
    ONE_PASS,
    OURS,
    SAME_SEED,
    TORCH_LOOP,
    Contender,
)
from benchmarks.sampling.networks import LARGE


class Cell(NamedTuple):
    """Measurements; seconds of a call, by contender."""

    model: str
    rows: int
    threads: int
    passes: int
    multiply_adds: int
    turns: dict[Contender, list[float]]
    """The median of each turn."""
    standard_errors: dict[Contender, float]
    """The largest distance of a contender's mean from the reference."""
    same_masks_error: float
    """The largest distance of Dropserve's mean from torch's with the same masks."""
    absent: dict[Contender, str]
    """Contenders that did not run, and the reason."""

    def __str__(self) -> str:
        """Return model, rows and threads as text."""
        rows, threads = ("row" if self.rows == 1 else "rows"), ("thread" if self.threads == 1 else "threads")
        return f"{self.model}, {self.rows} {rows}, {self.threads} {threads}"

    def seconds(self, contender: Contender) -> float:
        """Return the median over all turns."""
        return median(self.turns[contender])

    @property
    def ours(self) -> float:
        """Seconds of Dropserve by default."""
        return self.seconds(SAME_SEED)

    @property
    def sampling(self) -> list[Contender]:
        """All contenders that sample, Dropserve included."""
        return [contender for contender in self.turns if contender not in (ONE_PASS, LAYER_PRODUCTS, LARGE_PRODUCT)]

    @property
    def best_peer(self) -> Contender | None:
        """The fastest of the other contenders."""
        peers = [contender for contender in self.sampling if contender.peer != OURS]
        return min(peers, key=self.seconds, default=None)

    @property
    def large_product_seconds(self) -> float:
        """The time of the case's multiply-adds at the rate of one large product."""
        return self.seconds(LARGE_PRODUCT) * self.multiply_adds / LARGE**3

    @property
    def ratios(self) -> dict[str, float]:
        """The ratios of the goals, without those to an absent contender.

        "ours" has its masks in the cache, as callers without a seed share them; with a new seed it draws them first.
        """
        ratios = {
            "ours / layer products": self.ours / self.seconds(LAYER_PRODUCTS),
            "ours / large product": self.ours / self.large_product_seconds,
        }
        for ours, seconds in {"ours": self.ours, "ours, new seed": self.seconds(NEW_SEED)}.items():
            if self.best_peer:
                ratios[f"best peer / {ours}"] = self.seconds(self.best_peer) / seconds
            if TORCH_LOOP in self.turns:
                ratios[f"torch loop / {ours}"] = self.seconds(TORCH_LOOP) / seconds
        return ratios
