"""Data, or a published model and its data → the networks trained for it → all claims."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from service.manifest import read_manifest
from training import provenance
from training.behaviour.activations import activations, served_masks
from training.behaviour.claim import Claim
from training.behaviour.consensus import consensus
from training.behaviour.flag import flag
from training.behaviour.networks import Network, capped, split_of, train_networks
from training.behaviour.prediction import prediction
from training.behaviour.redundancy import redundancy
from training.behaviour.regularisation import regularisation
from training.behaviour.served import Served, open_served
from training.behaviour.settings import RATES, Settings
from training.config import TrainConfig
from training.data import Choices, Dataset, Part, load_data
from training.errors import TrainingError
from training.pipeline import settled

CLAIMS = 6


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured, of what, and when."""

    claims: tuple[Claim, ...]
    settings: Settings
    config: TrainConfig
    data: Dataset
    published: Served | None
    created: str
    out: Path | None
    """Where to it goes, besides the model."""


def steps(settings: Settings) -> int:
    """How many times `say` will be called."""
    return len(RATES) * (settings.seeds + settings.small_seeds) + CLAIMS


def study(
    config: TrainConfig, folder: Path | None, out: Path | None, settings: Settings, say: Callable[[str], None]
) -> Report:
    """Train the networks and measure all claims; `folder` is a published model's, which is measured beside them.

    `say` is told what comes next. Raises TrainingError, or InvalidModel for a model that the service would not load.
    """
    published = open_served(folder) if folder else None
    data = _load(config)
    if published:
        _check_same(published, data)
    config = settled(config, data, len(split_of(data, config, config.seed).train.targets))
    _check_can(config)
    test = capped(split_of(data, config, config.seed), settings.rows).test
    networks = train_networks(data, config, settings, say)
    claims = _claims(networks, published, test, data, config, settings, say)
    return Report(claims, settings, config, data, published, provenance.now(), out)


def of_model(folder: Path, given: dict[str, object]) -> TrainConfig:
    """The settings that a published model was trained with, where they are known; those given go over them."""
    training = read_manifest(folder).training
    known = {key: value for key, value in training.items() if key in TrainConfig.model_fields}
    return TrainConfig.model_validate({**known, **given})


def _load(config: TrainConfig) -> Dataset:
    data = load_data(
        config.data, Choices(config.target, config.ignore, config.categorical, config.task, config.missing)
    )
    if not data.labels:
        raise TrainingError(
            f"data: {data.name} is a regression; the report is about right and wrong answers, so it needs classes"
        )
    return data


def _check_same(published: Served, data: Dataset) -> None:
    """A report of other rows would be none of this model."""
    trained_on = published.manifest.training_data
    if trained_on is None:
        raise TrainingError(f"{published.title}: its manifest does not say what data it was trained on")
    if not {"seed", "test_share"} <= set(published.manifest.training):
        raise TrainingError(f"{published.title}: its manifest does not say which rows it did not learn from")
    if trained_on.sha256 != data.sha256:
        raise TrainingError(
            f"{published.title} was trained on other data: {trained_on.name}, SHA-256 {trained_on.sha256[:12]}…;"
            f" {data.name} has {data.sha256[:12]}…; name that data with --data, and --target where it is a table"
        )


def _check_can(config: TrainConfig) -> None:
    if config.module or config.network == "resnet":
        raise TrainingError(
            f"network: the report trains mlp and lenet, which drop single units; not {config.module or 'resnet'}"
        )


def _claims(
    networks: tuple[Network, ...],
    published: Served | None,
    test: Part,
    data: Dataset,
    config: TrainConfig,
    settings: Settings,
    say: Callable[[str], None],
) -> tuple[Claim, ...]:
    first = [network for network in networks if network.seed == settings.seed]
    dropping = [network for network in first if network.p > 0]
    watched = [seen for network in first for seen in network.seen]
    watched.append(served_masks(published or dropping[-1].served, settings.seed))

    def measured(make: Callable[[], Claim], what: str) -> Claim:
        say(what)
        return make()

    return (
        measured(lambda: activations(watched), "measuring activations in training"),
        measured(lambda: prediction(dropping, published, test.inputs, settings), "measuring predictions"),
        measured(lambda: flag(dropping[-1], settings), "measuring the training flag"),
        measured(lambda: redundancy(networks, published, test, settings), "squashing activations"),
        measured(lambda: regularisation(data, config, settings, say), "measuring regularisation"),
        measured(lambda: consensus(networks, published, test, settings), "asking ensembles"),
    )
