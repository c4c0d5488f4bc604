"""Networks whose dropout is wrong, each in its own way: what the report must not pass."""

import torch
from torch import Tensor, nn


class WrongRate(nn.Dropout):
    """Drops a tenth less than it says."""

    def forward(self, rows: Tensor) -> Tensor:
        if not self.training:
            return rows
        return rows * torch.empty_like(rows).bernoulli_(1.1 - self.p) / (1 - self.p)


class Unscaled(nn.Dropout):
    """As the first dropout did."""

    def forward(self, rows: Tensor) -> Tensor:
        return rows * torch.empty_like(rows).bernoulli_(1 - self.p) if self.training else rows


class Shared(nn.Dropout):
    """One draw for two neighbouring units."""

    def forward(self, rows: Tensor) -> Tensor:
        if not self.training:
            return rows
        half = torch.empty_like(rows[:, ::2]).bernoulli_(1 - self.p)
        return rows * half.repeat_interleave(2, dim=1) / (1 - self.p)


class SameForAllRows(nn.Dropout):
    """One draw for a whole batch."""

    def forward(self, rows: Tensor) -> Tensor:
        return rows * torch.empty_like(rows[:1]).bernoulli_(1 - self.p) / (1 - self.p) if self.training else rows


class Frozen(nn.Dropout):
    """One draw for ever, made of the first batch."""

    def __init__(self, p: float) -> None:
        super().__init__(p)
        self.kept = torch.empty(0)

    def forward(self, rows: Tensor) -> Tensor:
        if not self.training:
            return rows
        if len(self.kept) < len(rows):
            self.kept = torch.empty_like(rows).bernoulli_(1 - self.p).detach()
        return rows * self.kept[: len(rows)] / (1 - self.p)


class Lasting(nn.Dropout):
    """Drops in evaluation mode too."""

    def forward(self, rows: Tensor) -> Tensor:
        return nn.functional.dropout(rows, self.p, training=True)


def network(dropout: nn.Module) -> nn.Sequential:
    """Of digits."""
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), dropout, nn.Linear(32, 10))


def sound() -> nn.Module:
    return network(nn.Dropout(0.5))


def wrong_rate() -> nn.Module:
    return network(WrongRate(0.5))


def unscaled() -> nn.Module:
    return network(Unscaled(0.5))


def shared() -> nn.Module:
    return network(Shared(0.5))


def same_for_all_rows() -> nn.Module:
    return network(SameForAllRows(0.5))


def frozen() -> nn.Module:
    return network(Frozen(0.5))
