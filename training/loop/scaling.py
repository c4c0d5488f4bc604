"""The first and last layers of a network: imputation, standardisation and the target's unit.

They are not trained: rows and targets are standardised once, before training.
"""

from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from training.config import TrainConfig
from training.data import Dataset, Part
from training.data.columns import listed
from training.errors import TrainingError
from training.loop.batches import Tensors
from training.networks.layers import CHUNK, Impute, InTargetsUnit, NoisyInTargetsUnit, Standardise, moments

ROWS_COMPARED = 10_000
"""The number of rows on which the precision of standardised values is checked."""


class Scaling:
    """Layers that standardise rows and restore the target's unit, fitted to the training rows of a data set."""

    def __init__(self, config: TrainConfig, data: Dataset, rows: Part) -> None:
        """Fit the layers to `rows`; raise TrainingError for a column whose numbers float32 could not distinguish."""
        raw = torch.from_numpy(rows.inputs)
        self.data = data
        self.impute = make_impute(data, raw)
        filled = self.impute(raw) if self.impute else raw
        self.standardise = Standardise(filled, one_unit=data.one_unit, categories=_categories(data))
        self.unit: InTargetsUnit | None = None
        if not data.labels:
            last = NoisyInTargetsUnit if config.noise == "learned" else InTargetsUnit
            self.unit = last(torch.from_numpy(rows.targets))
        if not data.one_unit:
            self._check_distinct(filled)

    def tensors(self, part: Part) -> Tensors:
        """Return standardised rows and targets; raise TrainingError naming a value that becomes infinite."""
        rows, targets = torch.from_numpy(part.inputs), torch.from_numpy(part.targets)
        inputs = torch.empty(rows.shape, dtype=torch.float32)
        step = max(1, CHUNK // max(1, rows[:1].numel()))
        for chunk, made in zip(torch.split(rows, step), torch.split(inputs, step), strict=True):
            made.copy_(self.standardise(self.impute(chunk) if self.impute else chunk))
        if not torch.isfinite(inputs).all():
            raise self._infinite(rows, inputs)
        return inputs, self.unit.standardised(targets) if self.unit else targets

    def around(self, network: nn.Module) -> nn.Sequential:
        """Return the network between these layers: raw values to logits, or to values in the target's own unit."""
        layers = network.named_children() if type(network) is nn.Sequential else (("network", network),)
        first = [("impute", self.impute)] if self.impute else []
        last = [("in_targets_unit", self.unit)] if self.unit else []
        return nn.Sequential(OrderedDict([*first, ("standardise", self.standardise), *layers, *last]))

    @property
    def imputation(self) -> tuple[float, ...]:
        """Imputed values, one a feature; empty where none may be missing."""
        return tuple(self.impute.values.tolist()) if self.impute else ()

    def _infinite(self, rows: Tensor, inputs: Tensor) -> TrainingError:
        row, place = (~torch.isfinite(inputs)).flatten(1).nonzero()[0].tolist()
        names = self.data.features or tuple(f"value {i}" for i in range(place + 1))
        return TrainingError(
            f"{self.data.name}: column {names[place]!r}: {rows.flatten(1)[row, place]:g} is too far from the"
            " training rows to be a 32-bit number when it is standardised; leave such rows or the column out"
        )

    def _check_distinct(self, rows: Tensor) -> None:
        some = rows[:: max(1, len(rows) // ROWS_COMPARED)]
        standardised = self.standardise(some).numpy()
        for place, name in enumerate(self.data.features):
            values = some[:, place].numpy()
            before, after = (len(np.unique(column)) for column in (values, standardised[:, place]))
            if after < before / 2:
                raise TrainingError(
                    f"{self.data.name}: column {name!r} holds numbers of so different sizes, from {values.min():g} to"
                    f" {values.max():g}, that of {before} different ones {after} are left when they are standardised to"
                    " 32 bits; take their logarithm, or leave the column out"
                )


def make_impute(data: Dataset, rows: Tensor) -> Impute | None:
    """Return the layer that imputes usual values of the training rows, or None; raise TrainingError."""
    if not data.imputed:
        return None
    for name, absent in zip(data.features, rows.isnan().all(dim=0).tolist(), strict=True):
        if absent:
            raise TrainingError(
                f"{data.name}: column {name!r} has no value in any of the {len(rows)} training rows; leave the"
                " column out"
            )
    return Impute(rows, _categories(data))


def constant_features(data: Dataset, rows: Part) -> Iterator[str]:
    """Yield a line on the features that do not vary in the training rows, so that they are centred only."""
    if data.one_unit:
        return
    raw = torch.from_numpy(rows.inputs)
    impute = make_impute(data, raw)
    _, spread = moments(impute(raw) if impute else raw)
    found = zip(data.features, spread.tolist(), strict=True)
    if names := [name for name, each in found if each == 0 and name not in data.categories]:
        yield f"centred only, as they do not vary in the training rows: {listed(names)}"


def _categories(data: Dataset) -> list[int]:
    """Return the places of categorical features."""
    return [place for place, feature in enumerate(data.features) if feature in data.categories]
