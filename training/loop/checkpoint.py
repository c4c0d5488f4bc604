"""A training run's state after an epoch, in a file: what it takes to go on as if nothing had happened."""

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from training.config import TrainConfig
from training.errors import TrainingError
from training.flags import flag

FREE = {"name", "description", "models", "others", "device", "checkpoint", "resume", "log", "tensorboard", "compile"}
FREE |= {"passes"}
"""Settings that may be given anew to a run that is gone on with."""


@dataclass(slots=True)
class Checkpoint:
    """`state` and `best_weights` are of the network; `order` is the generator that orders the rows, `random` those of
    dropout: of each process on the CPU and on its device.
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
    """The whole file or the one before it, never a half; raises TrainingError."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        # not by asdict, which would copy every tensor where it lies
        torch.save({field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)}, beside)
        beside.replace(file)
    except (OSError, RuntimeError) as error:
        raise TrainingError(f"checkpoint: {file}: cannot be written: {_first(error)}") from None
    finally:
        beside.unlink(missing_ok=True)


def load(file: Path) -> Checkpoint:
    """Raises TrainingError for what is no checkpoint of ours."""
    try:
        return Checkpoint(**torch.load(file, map_location="cpu", weights_only=True))
    except OSError as error:
        raise TrainingError(f"resume: {file}: cannot be read: {error.strerror}") from None
    except Exception as error:  # noqa: BLE001 - for a file of something else its unpickler raises whatever it runs into
        raise TrainingError(
            f"resume: {file}: is no checkpoint of a training run, or a damaged one ({_first(error)})"
        ) from None


def resumed(config: TrainConfig, checkpoint: Checkpoint) -> TrainConfig:
    """The checkpoint's settings, with those of `config` that may be given anew.

    Raises TrainingError when another setting is given with another value.
    """
    saved = TrainConfig.model_validate(checkpoint.settings)
    for key in sorted(config.model_fields_set - FREE):
        if getattr(config, key) != getattr(saved, key):
            raise TrainingError(
                f"{flag(key)}: the run to go on with has {getattr(saved, key)!r}; leave {flag(key)} out, or start anew"
            )
    given = {key: getattr(config, key) for key in config.model_fields_set & FREE}
    return saved.model_copy(update={"checkpoint": config.resume, "resume": config.resume} | given)


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
