"""What training minimises on each step, and what the score beside it is."""

from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gaussian_nll_loss, mse_loss

from training.config import TrainConfig
from training.data import Dataset
from training.network import mean_and_noise


class Loss:
    """Of a network's answers to some rows, and of the network itself.

    Of classes the cross entropy, nats; of a regression the squared error, in variances of the target, or where the
    noise is learned the negative log density of the standardised target, nats but for ½ log 2π.
    """

    def __init__(self, config: TrainConfig, data: Dataset) -> None:
        self.classes = bool(data.labels)
        self.noisy = not self.classes and config.noise == "learned"

    def of_answers(self, answers: Tensor, targets: Tensor) -> Tensor:
        """The mean over the rows: answers (rows, outputs), targets classes (rows,) or standardised values (rows, 1)."""
        if self.classes:
            return cross_entropy(answers, targets)
        if self.noisy:
            mean, noise = mean_and_noise(answers)
            return gaussian_nll_loss(mean, targets, noise.square())
        return mse_loss(answers, targets)

    def of_network(self, network: nn.Module) -> Tensor | float:  # noqa: ARG002 - nothing is asked of it yet
        """What is added at each step of training, whatever the rows."""
        return 0.0

    def score(self, answers: Tensor, targets: Tensor) -> tuple[float, str]:
        """The share that is right, or of a regression the share of the variance that is explained, and its name."""
        if self.classes:
            return (answers.argmax(dim=1) == targets).float().mean().item(), "accuracy"
        values = mean_and_noise(answers)[0] if self.noisy else answers
        variance = targets.var(correction=0).item()
        return 1 - mse_loss(values, targets).item() / variance if variance else 0.0, "R²"
