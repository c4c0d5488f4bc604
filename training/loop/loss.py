"""What training minimises on each step, and what the score beside it is."""

from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from training.config import TrainConfig
from training.loop.prior import LENGTH_SCALE, concrete_penalty, weight_penalty
from training.networks.layers import InTargetsUnit, mean_and_noise


class Loss:
    """Of a network's answers to some rows, and of the network itself. Training minimises the sum of the two.

    Of classes the cross entropy, nats, each row by the weight of its class; of a regression the squared error, in
    variances of the target, or where the noise is learned the negative log density of the standardised target, nats
    but for ½ log 2π.
    """

    def __init__(
        self, config: TrainConfig, unit: InTargetsUnit | None, rows: int, class_weights: Tensor | None = None
    ) -> None:
        """`unit`: the last layer of a regression; `rows`: how many the network learns from; weights (classes,)."""
        self.classes = unit is None
        self.noisy = unit is not None and config.noise == "learned"
        self.rows, self.length_scale = rows, config.length_scale or LENGTH_SCALE
        self.learns_dropout = config.dropout == "learned"
        self.class_weights = class_weights
        self.per_nat = 1.0
        if config.tau and unit:
            # of the standardised target the precision is τ · spread², and a squared error is 2/τ times its nats
            self.per_nat = 2 / (config.tau * unit.spread.square().item())
        self.penalises = self.learns_dropout or config.tau is not None

    def of_answers(self, answers: Tensor, targets: Tensor) -> Tensor:
        """The mean over the rows: answers (rows, outputs), targets classes (rows,) or standardised values (rows, 1)."""
        if self.classes:
            # the sum, for the weighted mean of cross_entropy divides by the weights of the batch that it happens to see
            return cross_entropy(answers, targets, weight=self.class_weights, reduction="sum") / len(targets)
        if self.noisy:
            mean, noise = mean_and_noise(answers)
            # torch's gaussian_nll_loss looks for variances below 0 at each step, for which the host waits for a GPU
            return (noise.log() + ((targets - mean) / noise).square() / 2).mean()
        return mse_loss(answers, targets)

    def of_network(self, network: nn.Module) -> Tensor | float:
        """What is added at each step of training, whatever the rows: the divergence from the prior, if it has one."""
        if not self.penalises:
            return 0.0
        penalty = concrete_penalty if self.learns_dropout else weight_penalty
        return self.per_nat * penalty(network, self.length_scale, self.rows)

    def score(self, answers: Tensor, targets: Tensor) -> tuple[float, str]:
        """The share that is right, or of a regression the share of the variance that is explained, and its name."""
        if self.classes:
            return (answers.argmax(dim=1) == targets).float().mean().item(), "accuracy"
        values = mean_and_noise(answers)[0] if self.noisy else answers
        variance = targets.var(correction=0).item()
        return 1 - mse_loss(values, targets).item() / variance if variance else 0.0, "R²"
