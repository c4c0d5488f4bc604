"""Read OOD data: rows of another data set, to which a model should give high uncertainty."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from service.errors import DropserveError
from service.rows.fitting import fit_features
from service.rows.formats import TABLES, RowsFile, format_of_name, holds_parquet
from training.data import Dataset, Floats, ImageChoices, load_data
from training.data.folder import read_images
from training.errors import TrainingError


def read_ood(source: str, data: Dataset) -> Floats:
    """Return the inputs of a file or folder, rows of the same shape as those of `data`: (rows, …).

    Only the feature columns of a table are read, as callers of the service send them; it needs no target. Raises
    TrainingError for rows that do not fit.
    """
    path = Path(source)
    if data.columns and not _is_table(path):
        raise TrainingError(
            f"others: {source}: {data.name} is a table, so that a CSV, JSON Lines or Parquet file with its columns is"
            " expected"
        )
    try:
        inputs = _inputs(path, data)
    except DropserveError as error:
        raise TrainingError(f"others: {error.message}") from None
    except OSError as error:
        raise TrainingError(f"others: {source}: cannot be read: {error.strerror}") from None
    if inputs.shape[1:] != data.inputs.shape[1:]:
        raise TrainingError(
            f"others: {source} has rows of {_times(inputs)} values, and {data.name} of {_times(data.inputs)}"
        )
    if not len(inputs):
        raise TrainingError(f"others: {source} has no rows")
    return inputs


def _inputs(path: Path, data: Dataset) -> Floats:
    if _is_table(path):
        return _columns(path, data)
    return read_images(path, _like(data)).astype(np.float32) if path.is_dir() else load_data(str(path)).inputs


def _like(data: Dataset) -> ImageChoices:
    """Return the choices by which pictures become rows as those of `data` did, by the shape for arrays of pictures."""
    choices = ImageChoices.for_rows(data.inputs.shape[1:])
    return replace(choices, resize=data.image.resize, background=data.image.background) if data.image else choices


def _is_table(path: Path) -> bool:
    return holds_parquet(path) if path.is_dir() else format_of_name(path.name) in TABLES


def _columns(path: Path, data: Dataset) -> Floats:
    table = RowsFile.of_path(path, data.dialect).table()
    return fit_features(table, data.spec, data.features, data.categorical).astype(data.inputs.dtype)


def _times(rows: Floats) -> str:
    return "×".join(map(str, rows.shape[1:]))
