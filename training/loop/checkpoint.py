"""The state of a training run after an epoch, in a file from which the run can be resumed bit for bit."""

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from training.config import TrainConfig
from training.errors import TrainingError
from training.flags import flag

FREE = {"name", "description", "models", "others", "device", "checkpoint", "resume", "log", "tensorboard", "compile"}
"""Settings that may change when a run is resumed."""
FREE |= {"passes", "sample_sites"}
"""Settings that may be given anew to a run that is gone on with."""


@dataclass(slots=True)
class Checkpoint:
    """The state of a run. `state` and `best_weights` are those of the network; `order` is the generator of the order of
    rows, `random` the generators of dropout, by process, on the CPU and on its device.
    """

    settings: dict[str, Any]
    data_sha256: str
    epoch: int
    best: dict[str, Any]
    best_weights: dict[str, Any]
    state: dict[str, Any]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    order: torch.Tensor
    random: list[list[torch.Tensor]]


def save(checkpoint: Checkpoint, file: Path) -> None:
    """Write the whole file atomically; raise TrainingError."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        # not asdict, which would copy every tensor
        torch.save({field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)}, beside)
        beside.replace(file)
    except (OSError, RuntimeError) as error:
        raise TrainingError(f"checkpoint: {file}: cannot be written: {_first(error)}") from None
    finally:
        beside.unlink(missing_ok=True)


def load(file: Path) -> Checkpoint:
    """Return the checkpoint; raise TrainingError for any other file."""
    try:
        return Checkpoint(**torch.load(file, map_location="cpu", weights_only=True))
    except OSError as error:
        raise TrainingError(f"resume: {file}: cannot be read: {error.strerror}") from None
    except Exception as error:  # noqa: BLE001 - the unpickler of another file may raise anything
        raise TrainingError(
            f"resume: {file}: is not the checkpoint of a training run, or is damaged ({_first(error)})"
        ) from None


def check_checkpoint(file: Path) -> None:
    """Raise TrainingError for a --checkpoint file that exists and is not the checkpoint of a run."""
    if file.exists():
        try:
            load(file)
        except TrainingError:
            raise TrainingError(
                f"checkpoint: {file} is not the checkpoint of a training run; name a file that does not exist"
            ) from None


def resumed(config: TrainConfig, checkpoint: Checkpoint) -> TrainConfig:
    """Return the checkpoint's settings, with those of `config` that may change.

    Raises TrainingError when another setting is given with another value.
    """
    saved = TrainConfig.model_validate(checkpoint.settings)
    for key in sorted(config.model_fields_set - FREE):
        if getattr(config, key) != getattr(saved, key):
            raise TrainingError(
                f"{flag(key)}: the run to resume has {getattr(saved, key)!r}; leave {flag(key)} out, or start anew"
            )
    given = {key: getattr(config, key) for key in config.model_fields_set & FREE}
    return saved.model_copy(update={"checkpoint": config.resume, "resume": config.resume} | given)


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
