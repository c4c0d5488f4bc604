"""What is told of each epoch, and its line in a CSV file."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from training.errors import TrainingError

COLUMNS = ("number", "train_loss", "validation_loss", "validation_score")

HEADER = ",".join(("epoch", *COLUMNS[1:]))


@dataclass(frozen=True, slots=True)
class Epoch:
    """How far training has come. Losses are of a row, the training loss with dropout and the other without:
    nats, or of a regression squared standard deviations of the target.
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
    """`on_epoch`, and a line an epoch in the file, which begins `anew` or goes on; raises TrainingError."""
    if file is None:
        return on_epoch
    if anew or not file.exists():
        _write(file, (HEADER,), "w")

    def write(epoch: Epoch) -> None:
        _write(file, tuple(str(asdict(epoch)[column]) for column in COLUMNS), "a")
        on_epoch(epoch)

    return write


def _write(file: Path, cells: tuple[str, ...], mode: str) -> None:
    try:
        with file.open(mode, encoding="utf-8") as lines:
            lines.write(",".join(cells) + "\n")
    except OSError as error:
        raise TrainingError(f"log: {file}: cannot be written: {error.strerror}") from None
