"""Training rows → how much each class weighs in the loss, and which classes are not among them."""

from collections.abc import Iterator

import numpy as np

from service.engine.uncertainty import Float64, Int64
from training.config import TrainConfig
from training.data import Dataset, Part
from training.data.columns import listed
from training.errors import TrainingError


def check_class_weights(config: TrainConfig, data: Dataset) -> None:
    """Raises TrainingError for weights of a regression."""
    if config.class_weights != "none" and not data.labels:
        raise TrainingError(
            f"class_weights: {config.class_weights} is for classes, and {data.name} is a regression; say none"
        )


def class_weights(config: TrainConfig, data: Dataset, rows: Part) -> tuple[float, ...]:
    """The weight of each class, by the rows to train on; () where all weigh the same."""
    if config.class_weights == "none":
        return ()
    return tuple(balanced(rows.targets.astype(np.int64), len(data.labels)).tolist())


def balanced(targets: Int64, classes: int) -> Float64:
    """Weights (classes,) under which all classes of the rows (rows,) count the same, and a row 1 on average.

    That is rows / (classes · rows of the class) (King & Zeng 2001, "Logistic regression in rare events data").
    """
    return len(targets) / (classes * np.maximum(np.bincount(targets, minlength=classes), 1))


def untaught(data: Dataset, rows: Part) -> Iterator[str]:
    """A warning of the classes that are not among the rows to train on; none of a regression."""
    taught = set(rows.targets.tolist()) if data.labels else set()
    if names := [name for number, name in enumerate(data.labels) if number not in taught]:
        yield f"warning: no row to train on is of {listed(names)}; a class needs a row in each part of the data"
