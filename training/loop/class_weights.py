"""The weight of each class in the loss, and a warning of classes that are not in the training part."""

from collections.abc import Iterator

import numpy as np

from service.engine.uncertainty import Float64, Int64
from training.config import TrainConfig
from training.data import Dataset, Part
from training.data.columns import listed
from training.errors import TrainingError


def check_class_weights(config: TrainConfig, data: Dataset) -> None:
    """Raise TrainingError for class weights of a regression."""
    if config.class_weights != "none" and not data.labels:
        raise TrainingError(
            f"class_weights: {config.class_weights} is for classes, and {data.name} is a regression; use none"
        )


def class_weights(config: TrainConfig, data: Dataset, rows: Part) -> tuple[float, ...]:
    """Return the weight of each class, from the rows of the training part; empty where all are equal."""
    if config.class_weights == "none":
        return ()
    return tuple(balanced(rows.targets.astype(np.int64), len(data.labels)).tolist())


def balanced(targets: Int64, classes: int) -> Float64:
    """Return weights (classes,) that give all classes of the rows (rows,) the same total, and a row 1 on average.

    That is rows / (classes · rows of the class) (King & Zeng 2001, "Logistic regression in rare events data").
    """
    return len(targets) / (classes * np.maximum(np.bincount(targets, minlength=classes), 1))


def absent_classes(data: Dataset, rows: Part) -> Iterator[str]:
    """Yield a warning of the classes without a row in the training part; none for a regression."""
    present = set(rows.targets.tolist()) if data.labels else set()
    if names := [name for number, name in enumerate(data.labels) if number not in present]:
        yield f"warning: the training part has no row of {listed(names)}; a class needs a row in each part of the data"
