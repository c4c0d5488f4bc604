"""Where a run writes beside its model: nothing else of the user's may lie there."""

from pathlib import Path

from training.config import TrainConfig
from training.errors import TrainingError
from training.loop.checkpoint import load
from training.loop.epochs import HEADER


def check_outputs(config: TrainConfig) -> None:
    """Raises TrainingError for a --log or --checkpoint that would overwrite what is no log and no checkpoint."""
    if config.log and config.log.exists() and not _is_log(config.log):
        raise TrainingError(f"log: {config.log} is no log of a training run; name a file that is not there yet")
    if config.checkpoint and config.checkpoint.exists():
        try:
            load(config.checkpoint)
        except TrainingError:
            raise TrainingError(
                f"checkpoint: {config.checkpoint} is no checkpoint of a training run; name a file that is not there yet"
            ) from None


def _is_log(file: Path) -> bool:
    """An empty file will do."""
    try:
        with file.open("rb") as lines:
            return lines.readline().strip() in (b"", HEADER.encode())
    except OSError:
        return False
