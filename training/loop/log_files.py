"""Records of each epoch: a line in a CSV file, and scalars in a folder for TensorBoard."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from service.extras import remedy
from training.errors import TrainingError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

COLUMNS = ("number", "train_loss", "validation_loss", "validation_score")
"""Fields of an epoch in the CSV file."""

HEADER = ",".join(("epoch", *COLUMNS[1:]))


@dataclass(frozen=True, slots=True)
class Epoch:
    """Losses and score of an epoch. Losses are means over rows, the training loss with dropout and the validation loss
    without, neither with the penalty of the weights; see `Loss` for their units.
    """

    number: int
    """The number of the epoch, from 1."""
    of: int
    """The number of epochs of the run."""
    train_loss: float
    validation_loss: float
    validation_score: float
    """The share of right answers, or for a regression the share of the targets' variance explained (R²)."""
    score_name: str = "accuracy"
    learning_rate: float = 0.0
    """The learning rate of the last step."""


def check_log(file: Path) -> None:
    """Raise TrainingError for a --log file that exists and is not the log of a run; an empty one may be used."""
    try:
        with file.open("rb") as lines:
            known = lines.readline().strip() in (b"", HEADER.encode())
    except FileNotFoundError:
        return
    except OSError:
        known = False
    if not known:
        raise TrainingError(f"log: {file} is not the log of a training run; name a file that does not exist")


def logged(on_epoch: Callable[[Epoch], None], file: Path | None, *, anew: bool) -> Callable[[Epoch], None]:
    """Return `on_epoch` with a line an epoch in the file, which is begun `anew` or continued; raises TrainingError.

    A continued file loses its lines of the first epoch logged and later ones: the run was stopped after them.
    """
    if file is None:
        return on_epoch
    with _explained(file):
        if anew or not file.exists():
            file.write_text(HEADER + "\n", encoding="utf-8")
    begun = False

    def write(epoch: Epoch) -> None:
        nonlocal begun
        with _explained(file):
            if not begun:
                _cut(file, epoch.number)
            begun = True
            with file.open("a", encoding="utf-8") as lines:
                lines.write(",".join(str(asdict(epoch)[column]) for column in COLUMNS) + "\n")
        on_epoch(epoch)

    return write


def _cut(file: Path, first: int) -> None:
    """Keep the header and the whole lines of the epochs before `first`."""
    header, *lines = file.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
    before = [line for line in lines if line.endswith("\n") and int(line.partition(",")[0]) < first]
    file.write_text("".join([header, *before]), encoding="utf-8")


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainingError(f"log: {file}: cannot be written: {error.strerror}") from None
    except ValueError:
        raise TrainingError(f"log: {file}: is not the log of a training run; name another file") from None


def to_tensorboard(on_epoch: Callable[[Epoch], None], folder: Path | None) -> Callable[[Epoch], None]:
    """Return `on_epoch` with the epoch's scalars in the folder, where they replace those of the same and later epochs.

    Raises TrainingError when tensorboard is not installed or the folder cannot be written.
    """
    if folder is None:
        return on_epoch
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        raise TrainingError(f"tensorboard: is not installed; {remedy('tensorboard')}") from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"tensorboard: {folder}: cannot be written: {error.strerror}") from None

    writer: SummaryWriter | None = None

    def write(epoch: Epoch) -> None:
        nonlocal writer
        writer = writer or SummaryWriter(str(folder), purge_step=epoch.number)
        _add(writer, epoch)
        on_epoch(epoch)

    return write


def _add(writer: "SummaryWriter", epoch: Epoch) -> None:
    scalars = {
        "loss/train": epoch.train_loss,
        "loss/validation": epoch.validation_loss,
        f"validation/{epoch.score_name}": epoch.validation_score,
        "learning_rate": epoch.learning_rate,
    }
    for name, value in scalars.items():
        writer.add_scalar(name, value, epoch.number)
    writer.flush()
