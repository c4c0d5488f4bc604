"""The loss that training minimises, and the score."""

import math

from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from service.model.manifest import AnyNoise, LearnedNoise, Noise
from training.config import TrainConfig
from training.data import Dataset
from training.errors import TrainingError
from training.loop.prior import LENGTH_SCALE, concrete_penalty, weight_penalty
from training.networks.layers import InTargetsUnit, mean_and_noise


class Loss:
    """The loss of a network's answers to some rows, and the penalty of its weights. Training minimises the sum.

    The loss of classes is the cross entropy in nats, with each row weighted by its class. That of a regression is the
    squared error in variances of the target, or where the noise is learned the negative log density of the standardised
    target, in nats without ½ log 2π.
    """

    def __init__(
        self, config: TrainConfig, unit: InTargetsUnit | None, rows: int, class_weights: Tensor | None = None
    ) -> None:
        """Prepare the loss for `rows` training rows.

        `unit` is the last layer of a regression, None for classes; `class_weights` are (classes,).
        """
        self.classes = unit is None
        self.noisy = unit is not None and config.noise == "learned"
        self.rows, self.length_scale = rows, config.length_scale or LENGTH_SCALE
        self.learns_dropout = config.dropout == "learned"
        self.class_weights = class_weights
        self.per_nat = 1.0
        if config.tau and unit:
            # the precision of the standardised target is τ · spread², and a squared error is 2/τ times its nats
            self.per_nat = 2 / (config.tau * unit.spread.square().item())
        self.penalises = self.learns_dropout or config.tau is not None

    def of_answers(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the rows: answers (rows, outputs), targets classes (rows,) or standardised values (rows,
        1).
        """
        if self.classes:
            # the sum: the weighted mean of cross_entropy divides by the weights of the current batch
            return cross_entropy(answers, targets, weight=self.class_weights, reduction="sum") / len(targets)
        if self.noisy:
            mean, noise = mean_and_noise(answers)
            # torch's gaussian_nll_loss tests for variances below 0 at each step, and the host waits for the GPU
            return (noise.log() + ((targets - mean) / noise).square() / 2).mean()
        return mse_loss(answers, targets)

    def of_network(self, network: nn.Module) -> Tensor | float:
        """Return the penalty of each step, whatever the rows: the divergence from the prior, or 0 without one."""
        if not self.penalises:
            return 0.0
        penalty = concrete_penalty if self.learns_dropout else weight_penalty
        return self.per_nat * penalty(network, self.length_scale, self.rows)

    def score(self, answers: Tensor, targets: Tensor) -> tuple[float, str]:
        """Return the score and its name: accuracy, or for a regression R², the share of the variance explained."""
        if self.classes:
            return (answers.argmax(dim=1) == targets).float().mean().item(), "accuracy"
        values = mean_and_noise(answers)[0] if self.noisy else answers
        variance = targets.var(correction=0).item()
        return 1 - mse_loss(values, targets).item() / variance if variance else 0.0, "R²"


def check_noise(config: TrainConfig, data: Dataset) -> None:
    """Raise TrainingError for noise that does not fit this data, or dropout that is learned."""
    if data.labels and config.noise != "fitted":
        raise TrainingError(f"noise: is for regressions, and {data.name} has classes; leave noise out")
    learns = not data.labels and config.dropout == "learned"
    if learns and config.noise == "fitted" and "noise" in config.model_fields_set:
        raise TrainingError(
            "noise: learned dropout depends on it, so that it must be known during training;"
            " use noise learned, or fixed"
        )


def known_noise(config: TrainConfig) -> AnyNoise | None:
    """Return the noise that is known before the fit to validation rows, in the target's own unit; else None."""
    if config.noise == "learned":
        return LearnedNoise(learned=True)
    return Noise(std=1 / math.sqrt(config.tau)) if config.tau else None
