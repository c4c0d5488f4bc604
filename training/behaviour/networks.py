"""The networks of a report: trained with and without dropout, published, and loaded as the service loads them."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from training.behaviour.recording import LayerRecord, record_dropout
from training.behaviour.served import Served, open_served
from training.behaviour.settings import RATES, WITH, Settings
from training.config import TrainConfig
from training.data import Dataset, Part, Split, deal, split_data
from training.data.split import strata
from training.evidence.rows import Rows
from training.loop.loss import known_noise
from training.loop.scaling import Scaling
from training.loop.train import train
from training.networks.architecture import make_network
from training.publish.release import publish_module

EXAMPLE_ROWS = 17
"""Test rows that are exported as the example."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network trained with `p`. Its temperature is 1; a regression's noise is fitted."""

    p: float
    seed: int
    module: nn.Module
    """The module with dropout layers, in evaluation mode; for p = 0 they are those of p = 0.5, so that it can be
    sampled.
    """
    served: Served
    seen: tuple[LayerRecord, ...]
    """Records of its dropout layers in the first training steps."""
    test: Part
    """Rows that were not used in training."""

    @property
    def example(self) -> tuple[Tensor, ...]:
        """Rows for its export."""
        return (torch.from_numpy(self.test.inputs[:EXAMPLE_ROWS]),)


def train_networks(
    data: Dataset, config: TrainConfig, settings: Settings, log: Callable[[str], None]
) -> tuple[Network, ...]:
    """Return a network for each seed and p; a seed has the same split, first weights and order of rows at every p."""
    networks = []
    with one_thread():
        for seed in range(settings.seed, settings.seed + settings.seeds):
            split = capped(data, split_of(data, config, seed), settings)
            for p in RATES:
                log(f"training with p = {p:g}, seed {seed}")
                networks.append(train_network(data, with_rate(config, p, seed, settings.epochs), split, settings.steps))
    return tuple(networks)


def train_network(data: Dataset, config: TrainConfig, split: Split, steps: int) -> Network:
    """Train a network, record its dropout layers in the first steps, and publish it temporarily."""
    with record_dropout(steps, f"p = {config.dropout}") as seen:
        trained = train(config, data, split, lambda _: None)
    module = _with_dropout_layers(config, data, split, trained.network) if config.dropout == 0 else trained.network
    with tempfile.TemporaryDirectory() as models:
        example = (torch.from_numpy(split.test.inputs[:EXAMPLE_ROWS]),)
        name = f"p-{config.dropout}-seed-{config.seed}"
        known = known_noise(config)
        validation = None if data.labels or known else Rows((split.validation.inputs,), split.validation.targets)
        folder, _ = publish_module(
            module,
            example,
            name=name,
            models=Path(models),
            labels=data.labels,
            noise=known,
            validation=validation,
            imputation=trained.imputation,
        )
        served = open_served(folder)
    return Network(float(config.dropout), config.seed, module, served, tuple(seen), split.test)


def split_of(data: Dataset, config: TrainConfig, seed: int) -> Split:
    """Return the split of the data by this seed."""
    return split_data(data, config.validation_share, config.calibration_share, config.test_share, seed)


def with_rate(config: TrainConfig, p: float, seed: int, epochs: int) -> TrainConfig:
    """Return the settings with these changes; `TrainConfig` itself refuses a network without dropout."""
    changed = {"dropout": p, "input_dropout": 0.0, "length_scale": None, "seed": seed, "epochs": epochs}
    return config.model_copy(update=changed)


def capped(data: Dataset, split: Split, settings: Settings) -> Split:
    """Return the split with limited training, validation and test parts, stratified."""
    parts = {"train": settings.train_rows, "validation": settings.rows, "test": settings.rows}
    return replace(split, **{name: few(data, getattr(split, name), rows, 0) for name, rows in parts.items()})


def few(data: Dataset, part: Part, rows: int, seed: int) -> Part:
    """Return at most `rows` of the rows, stratified."""
    if len(part.targets) <= rows:
        return part
    classes = strata(replace(data, inputs=part.inputs, targets=part.targets))
    chosen = deal(classes, (rows / len(classes),), seed)[0]
    return Part(part.inputs[chosen], part.targets[chosen])


def _with_dropout_layers(config: TrainConfig, data: Dataset, split: Split, trained: nn.Module) -> nn.Module:
    """Return the network with dropout layers between its weights, which it lacked in training."""
    dropping = config.model_copy(update={"dropout": WITH})
    scaling = Scaling(config, data, split.train)
    network = scaling.around(make_network(dropping, data, scaling.tensors(split.test)[0]))
    network.load_state_dict(trained.state_dict())
    return network.eval()


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch with one thread: small networks train faster, and sums are the same on any number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
