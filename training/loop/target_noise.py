"""What a run's settings say of the noise of a regression's target."""

import math

from service.model.manifest import AnyNoise, LearnedNoise, Noise
from training.config import TrainConfig
from training.data import Dataset
from training.errors import TrainingError


def check_noise(config: TrainConfig, data: Dataset) -> None:
    """Raises TrainingError for noise that does not go with this data, or with dropout that is learned."""
    if data.labels and config.noise != "fitted":
        raise TrainingError(f"noise: is that of a regression's target, and {data.name} has classes; leave noise out")
    learns = not data.labels and config.dropout == "learned"
    if learns and config.noise == "fitted" and "noise" in config.model_fields_set:
        raise TrainingError(
            "noise: how much to drop depends on it, so that it must be known while dropout is learned;"
            " say noise learned, or fixed"
        )


def known_noise(config: TrainConfig) -> AnyNoise | None:
    """What is known before anything is fitted to validation rows, in the target's own unit."""
    if config.noise == "learned":
        return LearnedNoise(learned=True)
    return Noise(std=1 / math.sqrt(config.tau)) if config.tau else None
