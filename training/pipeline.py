"""A training run, from data to a published model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from service.manifest import Manifest, TrainingData
from training.config import TrainConfig
from training.data import Part, Split, load_data, split_data
from training.publish import check_writable
from training.release import publish_module
from training.rows import Rows
from training.train import Epoch, Trained, train

EXAMPLE_ROWS = 17


def run(config: TrainConfig, say: Callable[[str], None], on_epoch: Callable[[Epoch], None]) -> tuple[Path, Manifest]:
    """Train and publish; the folder and manifest that came of it.

    `say` is told each step's outcome, `on_epoch` each epoch's. Raises TrainingError or InvalidModel.
    """
    check_writable(config.models)
    data = load_data(config.data)
    split = split_data(data, config.validation_share, config.calibration_share, config.test_share, config.seed)
    say(f"data: {data.name}, {', '.join(f'{name} {rows}' for name, rows in _counts(split).items())}")

    trained = train(config, data, split, on_epoch)
    say(f"train: on {trained.device}; best epoch {trained.best.number} of {trained.best.of}")

    return publish_module(
        trained.network,
        (torch.from_numpy(split.test.inputs[:EXAMPLE_ROWS]),),
        name=config.name,
        models=config.models,
        labels=data.labels,
        validation=_rows(split.validation),
        calibration=_rows(split.calibration),
        test=_rows(split.test),
        passes=config.passes,
        seed=config.seed,
        say=say,
        description=config.description,
        features=data.features,
        training_data=TrainingData(name=data.name, sha256=data.sha256, rows=len(data.targets)),
        training=_settings(config, split, trained),
    )


def _rows(part: Part) -> Rows:
    return Rows((part.inputs,), part.targets)


def _counts(split: Split) -> dict[str, int]:
    parts = {"train": split.train, "validation": split.validation, "calibration": split.calibration, "test": split.test}
    return {f"{name}_rows": len(part.targets) for name, part in parts.items()}


def _settings(config: TrainConfig, split: Split, trained: Trained) -> dict[str, Any]:
    """What was asked for and what came of it; not where: paths are nobody else's."""
    return (
        config.model_dump(mode="json", exclude={"name", "description", "models"})
        | {"device": trained.device, "best_epoch": trained.best.number}
        | _counts(split)
    )
