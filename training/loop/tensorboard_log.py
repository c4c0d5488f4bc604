"""What is told of each epoch, in a folder that TensorBoard shows."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from service.extras import remedy
from training.errors import TrainingError
from training.loop.epochs import Epoch

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def to_tensorboard(on_epoch: Callable[[Epoch], None], folder: Path | None) -> Callable[[Epoch], None]:
    """`on_epoch`, and the epoch's scalars in the folder, where they replace those of the same and later epochs.

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
