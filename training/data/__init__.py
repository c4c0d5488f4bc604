"""Data to learn from: a table, arrays, images, or a named set; and its split into parts that share no row."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from training.data.choices import Choices, ImageChoices
from training.data.dataset import ColumnSeen, Dataset, Float32, Floats, Int64, Task
from training.data.digits import read_digits
from training.data.folder import read_folder
from training.data.idx import read_idx
from training.data.npz import read_npz
from training.data.split import Part, Split, deal, split_data
from training.data.table import read_csv, read_parquet
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
READERS: dict[str, Callable[[Path, Choices], Dataset]] = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
    ".npz": read_npz,
}


def load_data(source: str, choices: Choices = Choices()) -> Dataset:  # noqa: B008 - it is frozen
    """The named data set, or what the file or folder of images holds, as `choices` say.

    Raises TrainingError naming the file, the column and the remedy, where something cannot be learned from.
    """
    path = Path(source)
    if source in NAMED:
        _no_columns(source, choices)
        return NAMED[source]()
    if path.is_dir():
        _no_columns(source, replace(choices, missing="refuse", images=ImageChoices()))
        return read_folder(path, choices)
    if not path.exists():
        raise TrainingError(
            f"data: there is no data set {source!r}; there are: {', '.join(NAMED)}, and there is no such file or folder"
        )
    if choices.images != ImageChoices():
        raise TrainingError(f"{source}: size, resize, mode and background are for folders of pictures")
    try:
        return _reader(path)(path, choices)
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise TrainingError(f"{path}: is too large for this machine's memory") from None


def _reader(path: Path) -> Callable[[Path, Choices], Dataset]:
    if ("idx" in path.name and path.suffix in ("", ".gz")) or path.suffix.startswith(".idx"):
        return read_idx
    if path.suffix.lower() not in READERS:
        kinds = ", ".join(READERS)
        raise TrainingError(f"{path}: expected a file of {kinds} or IDX (…-images-idx3-ubyte, also .gz), or a folder")
    return READERS[path.suffix.lower()]


def _no_columns(source: str, choices: Choices) -> None:
    if choices != Choices():
        raise TrainingError(
            f"{source}: has no columns to choose and is of classes; target, ignore, categorical, task and missing"
            " are for files; size, resize, mode and background for folders of pictures"
        )
