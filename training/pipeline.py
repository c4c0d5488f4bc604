"""A training run, from data to a published model."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from service.model.manifest import Manifest, TrainingData
from training.config import TrainConfig
from training.data import ColumnSeen, Dataset, Part, Split, load_data, split_data
from training.data.dataset import value_ranges
from training.data.ood import read_ood
from training.data.reviewed import Reviewed, with_reviewed
from training.evidence.rows import Rows
from training.exporting.export import dropout_graph
from training.exporting.selection import auto_share
from training.loop.checkpoint import check_checkpoint, load, resumed
from training.loop.class_weights import absent_classes, check_class_weights, class_weights
from training.loop.distributed import ranks
from training.loop.log_files import Epoch, check_log
from training.loop.loss import check_noise, known_noise
from training.loop.prior import LENGTH_SCALE
from training.loop.scaling import Scaling, constant_features
from training.loop.train import Trained, train
from training.networks.architecture import choose_network, make_network
from training.networks.concrete import LEAST, MOST
from training.networks.device import choose_device, choose_precision, describe
from training.networks.network import LENET_HIDDEN
from training.publish.final_check import source_rows_check
from training.publish.publish import check_writable
from training.publish.release import publish_module

EXAMPLE_ROWS = 17
"""Test rows that are exported as the example."""
REGRESSION_DROPOUT = 0.1
"""The default dropout of a regression."""
CONVOLUTION_LEARNING_RATE = 1e-3
"""The default learning rate of a convolutional network."""
ROWS_SEEN, FEWEST_EPOCHS = 600_000, 10
"""The default number of epochs passes about ROWS_SEEN rows, in FEWEST_EPOCHS epochs or more."""
COLUMNS_SHOWN = 40
"""The largest number of columns that are logged."""
ELSEWHERE = {"name", "description", "models", "checkpoint", "resume", "log", "tensorboard", "with_reviewed"}
"""Settings that the manifest has in other fields, or omits as private, such as paths."""


def run(config: TrainConfig, log: Callable[[str], None], on_epoch: Callable[[Epoch], None]) -> tuple[Path, Manifest]:
    """Train and publish a model; return its folder and manifest.

    `log` is called with a line on each step, `on_epoch` with each epoch. Raises TrainingError or InvalidModel.
    """
    config = resumed(config, load(config.resume)) if config.resume else config
    if config.log:
        check_log(config.log)
    if config.checkpoint:
        check_checkpoint(config.checkpoint)
    check_writable(config.models)
    device = choose_device(config.device, ranks().local)
    config, data, split, reviewed = _prepared(config)
    everything = reviewed.joined(data) if reviewed else data
    others = () if config.others is None else (read_ood(config.others, data),)
    for line in (*_table(data.columns), *data.notes, *_left_out(everything, split)):
        log(line)
    check_sites(config, data, split.train)
    for line in (*constant_features(data, split.train), *absent_classes(data, split.train)):
        log(line)
    log(f"data: {data.name}, {', '.join(f'{name} {rows}' for name, rows in _counts(split).items())}")
    log(_network(config, data))

    if reviewed:
        log(reviewed.summary())
    log(f"device: {describe(device, choose_precision(config.precision, device))}{_processes()}")
    trained = train(config, everything, split, on_epoch)
    log(
        f"train: on {trained.device}; best epoch {trained.best.number} of {trained.best.of}, validation"
        f" {trained.best.score_name} {trained.best.validation_score:.4f}"
    )

    if config.dropout == "learned":
        log(f"dropout: learned, {', '.join(_learned_dropout(trained.network))}")

    folder, manifest = publish_module(
        trained.network,
        (torch.from_numpy(split.test.inputs[:EXAMPLE_ROWS]),),
        name=config.name,
        models=config.models,
        labels=data.labels,
        validation=_rows(split.validation),
        calibration=_rows(split.calibration),
        test=_rows(split.test),
        others=others,
        passes=config.passes,
        seed=config.seed,
        sample_sites=config.sample_sites,
        log=log,
        final_check=source_rows_check(config.data, data, (data.inputs,)),
        description=config.description,
        features=data.features,
        categories=dict(data.categories),
        image=data.image,
        imputation=trained.imputation,
        noise=known_noise(config),
        class_weights=class_weights(config, data, split.train),
        seen=value_ranges(split.train.inputs, one_unit=data.one_unit),
        training_data=TrainingData(name=data.name, sha256=data.sha256, rows=len(data.targets)),
        training=_settings(config, data, split, trained) | (reviewed.facts(data) if reviewed else {}),
    )
    if config.class_weights == "none" and _misses_rare(manifest):
        log("--class-weights balanced improves the recall of rare classes: docs/training.md.")
    return folder, manifest


def check_sites(config: TrainConfig, data: Dataset, rows: Part) -> None:
    """Raise ConfigError where the setting selects no dropout of the network, before hours of training.

    An untrained network has the same sites, unless it learns their probabilities.
    """
    if not config.sample_sites or auto_share(config.sample_sites) or config.dropout == "learned":
        return
    scaling, some = Scaling(config, data, rows), Part(rows.inputs[:EXAMPLE_ROWS], rows.targets[:EXAMPLE_ROWS])
    network = scaling.around(make_network(config, data, scaling.tensors(some)[0]))
    dropout_graph(network, (torch.from_numpy(some.inputs),)).exported(config.sample_sites)


def assist(config: TrainConfig) -> None:
    """Train as one of several processes, of which the first publishes. Raises TrainingError."""
    config = resumed(config, load(config.resume)) if config.resume else config
    config, data, split, reviewed = _prepared(config)
    train(config, reviewed.joined(data) if reviewed else data, split, lambda _: None)


def _prepared(config: TrainConfig) -> tuple[TrainConfig, Dataset, Split, Reviewed | None]:
    data = load_data(config.data, config.choices)
    split = split_data(data, config.validation_share, config.calibration_share, config.test_share, config.seed)
    config = config if config.resume else settled(config, data, len(split.train.targets))
    if config.with_reviewed is None:
        return config, data, split, None
    return config, data, *with_reviewed(config.with_reviewed, config.name, data, split)


def settled(config: TrainConfig, data: Dataset, train_rows: int) -> TrainConfig:
    """Return the settings with defaults for this data: less dropout for a regression, fewer epochs for a large set.

    Raises TrainingError for settings of another task.
    """
    check_noise(config, data)
    check_class_weights(config, data)
    network = choose_network(config, data)
    suited: dict[str, Any] = {"epochs": min(config.epochs, max(FEWEST_EPOCHS, ROWS_SEEN // train_rows))}
    if not data.labels and config.input_dropout == 0:
        suited["dropout"] = REGRESSION_DROPOUT
    if config.dropout == "learned" and not data.labels:
        suited["noise"] = "learned"
    if config.dropout == "learned" or config.noise == "fixed":
        suited |= {"weight_decay": 0.0, "length_scale": LENGTH_SCALE}  # the prior penalises the weights
    if network != "mlp":
        suited["learning_rate"] = CONVOLUTION_LEARNING_RATE
    if network == "lenet":
        suited["hidden"] = LENET_HIDDEN
    unset = {key: value for key, value in suited.items() if key not in config.model_fields_set}
    return config.model_copy(update=unset | {"network": network})


def _learned_dropout(network: nn.Module) -> Iterator[str]:
    bounds = {LEAST: " (the lower bound; it learned less)", MOST: " (the upper bound; it learned more)"}
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Dropout | nn.Dropout2d):
            yield f"{name} {layer.p:.3g}{bounds.get(layer.p, '')}"


def _processes() -> str:
    return f", in {ranks().size} processes" if ranks().size > 1 else ""


def _network(config: TrainConfig, data: Dataset) -> str:
    kind = f"{len(data.labels)} classes" if data.labels else "a regression"
    dropout = config.dropout if config.dropout == "learned" else f"{config.dropout:g}"
    return (
        f"network: {config.module or config.network} for {kind}; dropout {dropout}, epochs {config.epochs},"
        f" learning rate {config.learning_rate:g}"
    )


def _table(columns: Sequence[ColumnSeen]) -> Iterator[str]:
    """Yield a line a column, aligned; the target, which is the last, is always shown."""
    if not columns:
        return
    shown = columns if len(columns) <= COLUMNS_SHOWN else (*columns[: COLUMNS_SHOWN - 1], columns[-1])
    width = max(6, *(len(column.name) for column in shown))
    yield f"{'column':{width}}  {'role':8}  values"
    for column in shown:
        yield f"{column.name:{width}}  {column.role:8}  {column.seen}"
    if len(shown) < len(columns):
        yield f"… and {len(columns) - len(shown)} more columns"


def _left_out(data: Dataset, split: Split) -> Iterator[str]:
    if left := len(data.targets) - sum(_counts(split).values()):
        yield f"{left} rows left out that equal one of the source's own test rows"


def _misses_rare(manifest: Manifest) -> bool:
    """Return whether a class with less than half the average number of rows is never recognised."""
    few = sum(each.rows for each in manifest.class_figures) / max(1, 2 * len(manifest.labels))
    return any(each.recall.get("deterministic") == 0 and each.rows < few for each in manifest.class_figures)


def _rows(part: Part) -> Rows:
    return Rows((part.inputs,), part.targets)


def _counts(split: Split) -> dict[str, int]:
    parts = {"train": split.train, "validation": split.validation, "calibration": split.calibration, "test": split.test}
    return {f"{name}_rows": len(part.targets) for name, part in parts.items()}


def _unused(config: TrainConfig, data: Dataset) -> set[str]:
    """Return the settings of other networks than the one trained, and of another task."""
    unused = {"noise"} if data.labels else {"class_weights"}
    unused |= set() if data.image else {"size", "resize", "mode", "background"}
    if config.module:
        return unused | {"network", "hidden", "dropout", "input_dropout"}
    return unused | {"hidden"} if config.network == "resnet" else unused


def _settings(config: TrainConfig, data: Dataset, split: Split, trained: Trained) -> dict[str, Any]:
    """Return the settings and results for the manifest, without paths."""
    settings = config.model_dump(mode="json", exclude=ELSEWHERE | _unused(config, data))
    return (
        {key: value for key, value in settings.items() if value not in (None, [])}
        | {"data": data.name, **({"others": Path(config.others).name} if config.others else {})}
        | {"device": trained.device, "precision": trained.precision, "processes": ranks().size}
        | {"best_epoch": trained.best.number}
        | _counts(split)
    )
