"""A cell of the table: a network, rows and threads, and how long everyone took."""

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
    """What was measured; seconds of a question, by contender."""

    model: str
    rows: int
    threads: int
    passes: int
    multiply_adds: int
    turns: dict[Contender, list[float]]
    """The median of each turn."""
    standard_errors: dict[Contender, float]
    """How far a contender's mean is from the reference, at most."""
    same_masks_error: float
    """How far Dropserve's mean is from that of torch with the same masks, at most."""
    absent: dict[Contender, str]
    """Who did not take part, and why."""

    def __str__(self) -> str:
        rows, threads = ("row" if self.rows == 1 else "rows"), ("thread" if self.threads == 1 else "threads")
        return f"{self.model}, {self.rows} {rows}, {self.threads} {threads}"

    def seconds(self, contender: Contender) -> float:
        """The median over all turns."""
        return median(self.turns[contender])

    @property
    def ours(self) -> float:
        """Seconds of Dropserve as it is used by default."""
        return self.seconds(SAME_SEED)

    @property
    def sampling(self) -> list[Contender]:
        """All who sample, Dropserve included."""
        return [contender for contender in self.turns if contender not in (ONE_PASS, LAYER_PRODUCTS, LARGE_PRODUCT)]

    @property
    def best_peer(self) -> Contender | None:
        """The fastest of the others."""
        peers = [contender for contender in self.sampling if contender.peer != OURS]
        return min(peers, key=self.seconds, default=None)

    @property
    def large_product_seconds(self) -> float:
        """What the question's multiply-adds take at the rate of one large product."""
        return self.seconds(LARGE_PRODUCT) * self.multiply_adds / LARGE**3

    @property
    def ratios(self) -> dict[str, float]:
        """What the goals speak of; a ratio to somebody who did not take part is left out.

        "ours" has its masks already, as callers who name no seed share them; with a new seed it draws them first.
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
