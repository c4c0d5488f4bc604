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
from training.loop.checkpoint import load, resumed
from training.loop.class_weights import check_class_weights, class_weights, untaught
from training.loop.distributed import ranks
from training.loop.outputs import check_outputs
from training.loop.prior import LENGTH_SCALE
from training.loop.scaling import unvarying
from training.loop.target_noise import check_noise, known_noise
from training.loop.train import Epoch, Trained, train
from training.networks.architecture import choose_network
from training.networks.concrete import LEAST, MOST
from training.networks.device import choose_device, choose_precision, describe
from training.networks.network import LENET_HIDDEN
from training.publish.publish import check_writable
from training.publish.release import publish_module
from training.trial import on_own_rows

EXAMPLE_ROWS = 17
REGRESSION_DROPOUT = 0.1
CONVOLUTION_LEARNING_RATE = 1e-3
ROWS_SEEN, FEWEST_EPOCHS = 600_000, 10
"""Unless epochs are given: so many that about these rows are seen, at least these."""
COLUMNS_SHOWN = 40
ELSEWHERE = {"name", "description", "models", "checkpoint", "resume", "log", "tensorboard", "with_reviewed"}
"""Settings that are told in another place, or are nobody else's, as paths."""


def run(config: TrainConfig, say: Callable[[str], None], on_epoch: Callable[[Epoch], None]) -> tuple[Path, Manifest]:
    """Train and publish; the folder and manifest that came of it.

    `say` is told each step's outcome, `on_epoch` each epoch's. Raises TrainingError or InvalidModel.
    """
    config = resumed(config, load(config.resume)) if config.resume else config
    check_outputs(config)
    check_writable(config.models)
    device = choose_device(config.device, ranks().local)
    config, data, split, reviewed = _prepared(config)
    everything = reviewed.joined(data) if reviewed else data
    others = () if config.others is None else (read_ood(config.others, data),)
    for line in (*_table(data.columns), *data.notes, *_left_out(everything, split)):
        say(line)
    for line in (*unvarying(data, split.train), *untaught(data, split.train)):
        say(line)
    say(f"data: {data.name}, {', '.join(f'{name} {rows}' for name, rows in _counts(split).items())}")
    say(_what(config, data))

    if reviewed:
        say(reviewed.summary())
    say(f"device: {describe(device, choose_precision(config.precision, device))}{_others()}")
    trained = train(config, everything, split, on_epoch)
    say(
        f"train: on {trained.device}; best epoch {trained.best.number} of {trained.best.of}, validation"
        f" {trained.best.score_name} {trained.best.validation_score:.4f}"
    )

    if config.dropout == "learned":
        say(f"dropout: learned, {', '.join(_learned_dropout(trained.network))}")

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
        say=say,
        trial=on_own_rows(config.data, data, (data.inputs,)),
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
        say("A class that is rare is recognised more often with --class-weights balanced: docs/training.md.")
    return folder, manifest


def assist(config: TrainConfig) -> None:
    """Train among others, of whom the first one publishes. Raises TrainingError."""
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
    """With what suits this data, where nothing was said: a regression needs less dropout, a large set fewer epochs.

    Raises TrainingError for settings that are of another task.
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
    unsaid = {key: value for key, value in suited.items() if key not in config.model_fields_set}
    return config.model_copy(update=unsaid | {"network": network})


def _learned_dropout(network: nn.Module) -> Iterator[str]:
    bounds = {LEAST: " (the least there is; it learned less)", MOST: " (the most there is; it learned more)"}
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Dropout | nn.Dropout2d):
            yield f"{name} {layer.p:.3g}{bounds.get(layer.p, '')}"


def _others() -> str:
    return f", in {ranks().size} processes" if ranks().size > 1 else ""


def _what(config: TrainConfig, data: Dataset) -> str:
    kind = f"{len(data.labels)} classes" if data.labels else "a regression"
    dropout = config.dropout if config.dropout == "learned" else f"{config.dropout:g}"
    return (
        f"network: {config.module or config.network} for {kind}; dropout {dropout}, epochs {config.epochs},"
        f" learning rate {config.learning_rate:g}"
    )


def _table(columns: Sequence[ColumnSeen]) -> Iterator[str]:
    """A line a column, aligned; the target, which is the last, is always shown."""
    if not columns:
        return
    shown = columns if len(columns) <= COLUMNS_SHOWN else (*columns[: COLUMNS_SHOWN - 1], columns[-1])
    width = max(6, *(len(column.name) for column in shown))
    yield f"{'column':{width}}  {'role':8}  what was seen"
    for column in shown:
        yield f"{column.name:{width}}  {column.role:8}  {column.seen}"
    if len(shown) < len(columns):
        yield f"… and {len(columns) - len(shown)} more columns"


def _left_out(data: Dataset, split: Split) -> Iterator[str]:
    if left := len(data.targets) - sum(_counts(split).values()):
        yield f"{left} rows left out that are equal to one of the source's own test rows"


def _misses_rare(manifest: Manifest) -> bool:
    """Whether a class is never recognised that has less than half as many rows as the classes have on average."""
    few = sum(each.rows for each in manifest.class_figures) / max(1, 2 * len(manifest.labels))
    return any(each.recall.get("deterministic") == 0 and each.rows < few for each in manifest.class_figures)


def _rows(part: Part) -> Rows:
    return Rows((part.inputs,), part.targets)


def _counts(split: Split) -> dict[str, int]:
    parts = {"train": split.train, "validation": split.validation, "calibration": split.calibration, "test": split.test}
    return {f"{name}_rows": len(part.targets) for name, part in parts.items()}


def _unused(config: TrainConfig, data: Dataset) -> set[str]:
    """Settings of other networks than the one that is trained, and of another task."""
    unused = {"noise"} if data.labels else {"class_weights"}
    unused |= set() if data.image else {"size", "resize", "mode", "background"}
    if config.module:
        return unused | {"network", "hidden", "dropout", "input_dropout"}
    return unused | {"hidden"} if config.network == "resnet" else unused


def _settings(config: TrainConfig, data: Dataset, split: Split, trained: Trained) -> dict[str, Any]:
    """What was asked for and what came of it; not where: paths are nobody else's."""
    said = config.model_dump(mode="json", exclude=ELSEWHERE | _unused(config, data))
    return (
        {key: value for key, value in said.items() if value not in (None, [])}
        | {"data": data.name, **({"others": Path(config.others).name} if config.others else {})}
        | {"device": trained.device, "precision": trained.precision, "processes": ranks().size}
        | {"best_epoch": trained.best.number}
        | _counts(split)
    )
