"""Read a data set from a table, arrays, images or by name, and split it into parts that share no row."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from service.errors import InvalidRequest
from service.rows.formats import Format, RowsFile, format_of_name, holds_parquet
from training.data.choices import Choices, ImageChoices
from training.data.dataset import ColumnSeen, Dataset, Float32, Floats, Int64, Task
from training.data.digits import read_digits
from training.data.folder import read_folder
from training.data.idx import read_idx
from training.data.npz import read_npz
from training.data.split import Part, Split, deal, split_data
from training.data.table import read_table
from training.errors import TrainingError

__all__ = [
    "Choices",
    "ColumnSeen",
    "Dataset",
    "Float32",
    "Floats",
    "ImageChoices",
    "Int64",
    "Part",
    "Split",
    "Task",
    "deal",
    "load_data",
    "split_data",
]

NAMED: dict[str, Callable[[], Dataset]] = {"digits": read_digits}
"""Data sets that need no file."""
READERS: dict[Format | None, Callable[[RowsFile, Choices], Dataset]] = {
    "csv": read_table,
    "jsonl": read_table,
    "parquet": read_table,
    "npz": read_npz,
}
"""The reader of each format."""
NAMED_AS = ".csv, .tsv, .jsonl, .parquet, .npz"


def load_data(source: str, choices: Choices = Choices()) -> Dataset:  # noqa: B008 - it is frozen
    """Return the named data set, or the rows of a file or of a folder of images, read as `choices` require.

    Raises TrainingError, which names the file, the column and the remedy.
    """
    path = Path(source)
    if source in NAMED:
        _no_columns(source, choices)
        return NAMED[source]()
    if path.is_dir() and not holds_parquet(path):
        dropped = choices.missing == "drop"  # of damaged pictures
        _no_columns(source, replace(choices, missing="refuse" if dropped else choices.missing, images=ImageChoices()))
        return read_folder(path, choices)
    if not path.exists():
        raise TrainingError(
            f"data: there is no data set {source!r}; there are: {', '.join(NAMED)}; nor is there such a file or folder"
        )
    if choices.images != ImageChoices():
        raise TrainingError(f"{source}: size, resize, mode and background are for folders of pictures")
    try:
        return read_idx(path, choices) if _is_idx(path) else _read(path, choices)
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise TrainingError(f"{path}: is too large for this machine's memory") from None


def _read(path: Path, choices: Choices) -> Dataset:
    if not path.is_dir() and format_of_name(path.name) not in READERS:
        raise TrainingError(
            f"{path}: expected a file of {NAMED_AS}, also with .gz behind, or IDX (…-images-idx3-ubyte), or a folder"
        )
    try:
        file = RowsFile.of_path(path, choices.dialect)
    except InvalidRequest as error:
        raise TrainingError(f"{path}: {error.message}") from None
    return READERS[file.kind](file, choices)


def _is_idx(path: Path) -> bool:
    return "idx" in path.name and format_of_name(path.name) is None and not path.is_dir()


def _no_columns(source: str, choices: Choices) -> None:
    """Raise TrainingError for choices that only files have; `task="classification"` is allowed."""
    if choices.task == "regression" or replace(choices, task="auto") != Choices():
        raise TrainingError(
            f"{source}: is a classification without named columns; target, ignore, categorical, task and missing"
            " are for files; size, resize, mode and background for folders of pictures"
        )
