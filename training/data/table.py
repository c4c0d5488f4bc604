"""Tables, CSV and Parquet → columns → a data set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.data.choices import Choices
from training.data.columns import Column, Feature, listed, make_feature
from training.data.dataset import ColumnSeen, Dataset
from training.data.targets import make_target
from training.errors import TrainingError


def read_csv(path: Path, choices: Choices) -> Dataset:
    """A file with a line of names first, fields separated by commas, semicolons or tabs. Raises TrainingError."""
    from training.data.arrow import csv_columns  # pyarrow is needed only by those who have such a file

    return make_dataset(path.name, *csv_columns(path, choices), choices)


def read_parquet(path: Path, choices: Choices) -> Dataset:
    """Raises TrainingError."""
    from training.data.arrow import parquet_columns

    return make_dataset(path.name, *parquet_columns(path, choices), choices)


def make_dataset(name: str, columns: Sequence[Column], target: str, choices: Choices) -> Dataset:
    """Features and target of the columns that are not to be ignored; raises TrainingError."""
    columns, notes = _complete(name, columns, target, choices)
    targets, labels, target_seen = make_target(name, next(c for c in columns if c.name == target), choices)
    others = [column for column in columns if column.name != target]
    features = [make_feature(name, column, column.name in choices.categorical) for column in others]
    used = [feature for feature in features if feature.values is not None]
    if not used:
        raise TrainingError(f"{name}: no column is left to learn from: {_why(features)}")
    unused = tuple(ColumnSeen(column, "ignored", "as was said") for column in choices.ignore)
    return Dataset(
        name=name,
        inputs=np.stack([feature.values for feature in used if feature.values is not None], axis=1),
        targets=targets,
        features=tuple(feature.seen.name for feature in used),
        labels=labels,
        one_unit=False,
        categories={feature.seen.name: feature.categories for feature in used if feature.categories},
        columns=(*(feature.seen for feature in features), *unused, target_seen),
        notes=notes,
    )


def _complete(
    name: str, columns: Sequence[Column], target: str, choices: Choices
) -> tuple[list[Column], tuple[str, ...]]:
    """The columns with only the rows in which all have a value, and what was left out."""
    missing = {column.name: int(column.missing.sum()) for column in columns if column.missing.any()}
    counts = listed([f"{column} ({count})" for column, count in missing.items()])
    rows = len(columns[0].values)
    if missing and choices.missing == "refuse":
        raise TrainingError(
            f"{name}: values are missing in {len(missing)} columns (of {rows} rows): {counts}; fill them in, or leave"
            " such rows out with --missing drop" + ", or such columns with --ignore" * (set(missing) != {target})
        )
    kept = ~np.logical_or.reduce([column.missing for column in columns])
    if not kept.any():
        raise TrainingError(
            f"{name}: no row has a value in every column; missing: {counts or 'all, as it has no rows'}"
        )
    notes = (f"{rows - kept.sum()} of {rows} rows left out, where values are missing: {counts}",) if missing else ()
    return [column.kept(kept) for column in columns], notes


def _why(features: Sequence[Feature]) -> str:
    return "; ".join(f"{feature.seen.name}: {feature.seen.seen}" for feature in features) or "there is only the target"
