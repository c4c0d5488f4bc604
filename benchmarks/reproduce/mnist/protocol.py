"""The recipes of the networks, and the published results.

Sources: Srivastava et al. (2014), JMLR 15, Table 2 and figure 11: ReLU units, p of 0.2 at the inputs and 0.5 at the
hidden units, which the paper gives as shares to keep; LeNet of LeCun et al. (1998) with dropout before its fully
connected layers, as Gal & Ghahramani (2016).
"""

from dataclasses import dataclass
from typing import Literal

CLASSES = 10
PIXEL = 255.0
ANGLES = tuple(range(0, 181, 15))
"""Degrees of rotation."""
PASSES = (1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200)
"""Numbers of samples of the curve over T."""
ROTATED_PASSES = 100


@dataclass(frozen=True, slots=True)
class Recipe:
    """The training of a network: stochastic gradient descent with Nesterov's momentum and a one-cycle step size."""

    network: Literal["mlp", "lenet"]
    epochs: int
    learning_rate: float
    momentum: float
    max_norm: float | None
    """The largest norm of a hidden unit's incoming weights; None for any."""
    target: float
    """The target test error, per cent."""
    published: float | None
    """Test error in the paper's Table 2, per cent."""
    hidden: tuple[int, ...] = (1024, 1024, 1024)
    """Units of the fully connected layers."""
    dropout: float = 0.5
    input_dropout: float = 0.0
    batch: int = 128


RECIPES = {
    "mlp": Recipe("mlp", 60, 0.05, 0.9, None, 1.35, 1.25, input_dropout=0.2),
    "mlp-max-norm": Recipe("mlp", 80, 0.1, 0.9, 1.0, 1.10, 1.06, input_dropout=0.2),
    "lenet": Recipe("lenet", 25, 0.02, 0.9, None, 0.75, None, hidden=(500,)),
}
