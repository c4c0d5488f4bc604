"""Train the networks of a report on data, or on a published model's data, and measure all claims."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from service.model.manifest import read_manifest
from training.behaviour.activations import activations, served_masks
from training.behaviour.claim import Claim
from training.behaviour.consensus import consensus
from training.behaviour.flag import flag
from training.behaviour.networks import Network, capped, split_of, train_networks
from training.behaviour.prediction import prediction
from training.behaviour.redundancy import redundancy
from training.behaviour.regularisation import regularisation
from training.behaviour.scores import score_of
from training.behaviour.served import Served, open_served
from training.behaviour.settings import OF_CONVOLUTIONS, Settings
from training.config import TrainConfig, load_config
from training.data import NAMED, Dataset, Part, load_data
from training.errors import ConfigError, TrainingError
from training.pipeline import settled
from training.publish import provenance

MEASURED = {"precision": "float32", "compile": "off"}
"""Settings of training in a report, as its layers are recorded."""


@dataclass(frozen=True, slots=True)
class Report:
    """The results of a study, with their subject and time."""

    claims: tuple[Claim, ...]
    settings: Settings
    config: TrainConfig
    data: Dataset
    published: Served | None
    created: str
    options: Mapping[str, object]
    """Options of the command, without the model."""


def study(
    config: TrainConfig,
    folder: Path | None,
    settings: Settings,
    options: Mapping[str, object],
    log: Callable[[str], None],
) -> Report:
    """Train the networks and measure all claims; `folder` is a published model's, which is measured, too.

    `options` name the `settings` that stay as they are where the network needs other ones. `log` is called with each
    next step. Raises TrainingError, or InvalidModel for a model that the service would not load.
    """
    published = open_served(folder) if folder else None
    log("reading the data")
    data = load_data(config.data, config.choices)
    if published:
        _check_same(published, data)
    config = settled(config, data, len(split_of(data, config, config.seed).train.targets))
    config = config.model_copy(update=MEASURED)
    _check_can(config)
    if config.network == "lenet" and not options.get("quick"):
        fewer: dict[str, Any] = {key: n for key, n in OF_CONVOLUTIONS.items() if key not in options}
        settings = replace(settings, **fewer)
    test = capped(data, split_of(data, config, config.seed), settings).test
    networks = train_networks(data, config, settings, log)
    claims = _claims(networks, published, test, data, config, settings, log)
    return Report(claims, settings, config, data, published, provenance.now(), options)


def of_model(folder: Path, given: dict[str, object]) -> TrainConfig:
    """Return the known training settings of a published model, overridden by `given`."""
    manifest = read_manifest(folder)
    known = {
        key: value
        for key, value in manifest.training.items()
        if key in TrainConfig.model_fields.keys() - {"others", "early_stopping"}
    }
    source = known.get("data")
    if source and "data" not in given and source not in NAMED and not Path(source).exists():
        target = "" if known.get("target") or not manifest.features else ", and its target column with --target"
        raise ConfigError(
            f"--data: {manifest.name}/{manifest.version} was trained on {source}, which is not here;"
            f" name its place with --data{target}"
        )
    return load_config(None, {**known, **given})


def _check_same(published: Served, data: Dataset) -> None:
    """Raise TrainingError unless the data is that of the model."""
    trained_on = published.manifest.training_data
    if trained_on is None:
        raise TrainingError(f"{published.title}: its manifest does not state its training data")
    if not {"seed", "test_share"} <= set(published.manifest.training):
        raise TrainingError(f"{published.title}: its manifest does not state which rows were held out")
    if trained_on.sha256 != data.sha256:
        raise TrainingError(
            f"{published.title} was trained on other data: {trained_on.name}, SHA-256 {trained_on.sha256[:12]}…;"
            f" {data.name} has {data.sha256[:12]}…; name that data with --data, and --target where it is a table"
        )


def _check_can(config: TrainConfig) -> None:
    if config.module or config.network == "resnet":
        raise TrainingError(
            f"network: the report trains mlp and lenet, which drop single units, not {config.module or 'resnet'}"
        )


def _claims(
    networks: tuple[Network, ...],
    published: Served | None,
    test: Part,
    data: Dataset,
    config: TrainConfig,
    settings: Settings,
    log: Callable[[str], None],
) -> tuple[Claim, ...]:
    first = [network for network in networks if network.seed == settings.seed]
    dropping = [network for network in first if network.p > 0]
    watched = [seen for network in first for seen in network.seen]
    watched.append(served_masks(published or dropping[-1].served, settings.seed))

    score = score_of(data)

    def measured(make: Callable[[], Claim], what: str) -> Claim:
        log(what)
        return make()

    return (
        measured(lambda: activations(watched), "measuring activations in training"),
        measured(lambda: prediction(dropping, published, test.inputs, score, settings), "measuring predictions"),
        measured(lambda: flag(dropping[-1], settings), "measuring the training flag"),
        measured(lambda: redundancy(networks, published, test, score, settings), "squashing activations"),
        measured(lambda: regularisation(data, config, settings, log), "measuring regularisation"),
        measured(lambda: consensus(networks, published, test, score, settings), "measuring ensembles"),
    )
