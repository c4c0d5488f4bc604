"""What is told of each epoch, and its line in a CSV file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from training.errors import TrainingError

COLUMNS = ("number", "train_loss", "validation_loss", "validation_score")

HEADER = ",".join(("epoch", *COLUMNS[1:]))


@dataclass(frozen=True, slots=True)
class Epoch:
    """How far training has come. Losses are of a row's answer, the training loss with dropout and the other without,
    and neither with what the weights cost: see `Loss` for what they are, and in which unit.
    """

    number: int
    of: int
    train_loss: float
    validation_loss: float
    validation_score: float
    """The share that is right, or of a regression the share of the targets' variance that is explained (R²)."""
    score_name: str = "accuracy"
    learning_rate: float = 0.0
    """That of its last step."""


def logged(on_epoch: Callable[[Epoch], None], file: Path | None, *, anew: bool) -> Callable[[Epoch], None]:
    """`on_epoch`, and a line an epoch in the file, which begins `anew` or goes on; raises TrainingError.

    Where it goes on, lines of the first epoch that is told and of later ones go: the run before was stopped after them.
    """
    if file is None:
        return on_epoch
    with _telling(file):
        if anew or not file.exists():
            file.write_text(HEADER + "\n", encoding="utf-8")
    begun = False

    def write(epoch: Epoch) -> None:
        nonlocal begun
        with _telling(file):
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
def _telling(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainingError(f"log: {file}: cannot be written: {error.strerror}") from None
    except ValueError:
        raise TrainingError(f"log: {file}: is no log of a training run; name another file") from None
