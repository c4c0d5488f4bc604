"""What training minimises on each step, and what the score beside it is."""

from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from training.data import Dataset


class Loss:
    """Of a network's answers to some rows, and of the network itself.

    Of classes the cross entropy, nats; of a regression the squared error, in variances of the target.
    """

    def __init__(self, data: Dataset) -> None:
        self.classes = bool(data.labels)

    def of_answers(self, answers: Tensor, targets: Tensor) -> Tensor:
        """The mean over the rows: answers (rows, outputs), targets classes (rows,) or standardised values (rows, 1)."""
        return cross_entropy(answers, targets) if self.classes else mse_loss(answers, targets)

    def of_network(self, network: nn.Module) -> Tensor | float:  # noqa: ARG002 - nothing is asked of it yet
        """What is added at each step of training, whatever the rows."""
        return 0.0

    def score(self, answers: Tensor, targets: Tensor) -> tuple[float, str]:
        """The share that is right, or of a regression the share of the variance that is explained, and its name."""
        if self.classes:
            return (answers.argmax(dim=1) == targets).float().mean().item(), "accuracy"
        variance = targets.var(correction=0).item()
        return 1 - mse_loss(answers, targets).item() / variance if variance else 0.0, "R²"
