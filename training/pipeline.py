"""A training run, from data to a published model."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from service.manifest import Manifest, TrainingData
from training.architecture import choose_network
from training.checkpoint import load, resumed
from training.config import TrainConfig
from training.data import Choices, ColumnSeen, Dataset, Part, Split, load_data, split_data
from training.network import LENET_HIDDEN
from training.others import read_others
from training.publish import check_writable
from training.release import publish_module
from training.rows import Rows
from training.seen import what_was_seen
from training.train import Epoch, Trained, train

EXAMPLE_ROWS = 17
REGRESSION_DROPOUT = 0.1
CONVOLUTION_LEARNING_RATE = 1e-3
ROWS_SEEN, FEWEST_EPOCHS = 600_000, 10
"""Unless epochs are given: so many that about these rows are seen, at least these."""
COLUMNS_SHOWN = 40
ELSEWHERE = {"name", "description", "models", "checkpoint", "resume", "log"}
"""Settings that are told in another place, or are nobody else's, as paths."""


def run(config: TrainConfig, say: Callable[[str], None], on_epoch: Callable[[Epoch], None]) -> tuple[Path, Manifest]:
    """Train and publish; the folder and manifest that came of it.

    `say` is told each step's outcome, `on_epoch` each epoch's. Raises TrainingError or InvalidModel.
    """
    config = resumed(config, load(config.resume)) if config.resume else config
    check_writable(config.models)
    data = load_data(
        config.data, Choices(config.target, config.ignore, config.categorical, config.task, config.missing)
    )
    others = () if config.others is None else (read_others(config.others, data),)
    split = split_data(data, config.validation_share, config.calibration_share, config.test_share, config.seed)
    config = config if config.resume else settled(config, data, len(split.train.targets))
    for line in (*_table(data.columns), *data.notes, *_left_out(data, split)):
        say(line)
    say(f"data: {data.name}, {', '.join(f'{name} {rows}' for name, rows in _counts(split).items())}")
    say(_what(config, data))

    trained = train(config, data, split, on_epoch)
    say(
        f"train: on {trained.device}; best epoch {trained.best.number} of {trained.best.of}, validation"
        f" {trained.best.score_name} {trained.best.validation_score:.4f}"
    )

    return publish_module(
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
        description=config.description,
        features=data.features,
        categories=dict(data.categories),
        seen=what_was_seen(split.train.inputs, one_unit=data.one_unit),
        training_data=TrainingData(name=data.name, sha256=data.sha256, rows=len(data.targets)),
        training=_settings(config, data, split, trained),
    )


def settled(config: TrainConfig, data: Dataset, train_rows: int) -> TrainConfig:
    """With what suits this data, where nothing was said: a regression needs less dropout, a large set fewer epochs."""
    network = choose_network(config, data)
    suited: dict[str, Any] = {"epochs": min(config.epochs, max(FEWEST_EPOCHS, ROWS_SEEN // train_rows))}
    if not data.labels and config.input_dropout == 0:
        suited["dropout"] = REGRESSION_DROPOUT
    if network != "mlp":
        suited["learning_rate"] = CONVOLUTION_LEARNING_RATE
    if network == "lenet":
        suited["hidden"] = LENET_HIDDEN
    unsaid = {key: value for key, value in suited.items() if key not in config.model_fields_set}
    return config.model_copy(update=unsaid | {"network": network})


def _what(config: TrainConfig, data: Dataset) -> str:
    kind = f"{len(data.labels)} classes" if data.labels else "a regression"
    return (
        f"network: {config.module or config.network} for {kind}; dropout {config.dropout:g}, epochs {config.epochs},"
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


def _rows(part: Part) -> Rows:
    return Rows((part.inputs,), part.targets)


def _counts(split: Split) -> dict[str, int]:
    parts = {"train": split.train, "validation": split.validation, "calibration": split.calibration, "test": split.test}
    return {f"{name}_rows": len(part.targets) for name, part in parts.items()}


def _unused(config: TrainConfig) -> set[str]:
    """Settings of other networks than the one that is trained."""
    if config.module:
        return {"network", "hidden", "dropout", "input_dropout"}
    return {"hidden"} if config.network == "resnet" else set()


def _settings(config: TrainConfig, data: Dataset, split: Split, trained: Trained) -> dict[str, Any]:
    """What was asked for and what came of it; not where: paths are nobody else's."""
    said = config.model_dump(mode="json", exclude=ELSEWHERE | _unused(config))
    return (
        {key: value for key, value in said.items() if value not in (None, [])}
        | {
            "data": data.name,
            **({"others": Path(config.others).name} if config.others else {}),
            "device": trained.device,
            "best_epoch": trained.best.number,
        }
        | _counts(split)
    )
