"""One-hot encoding by a lookup, so that the exported graph refuses what torch refuses.

torch's exporter compares with all classes, by which a number that is none of them becomes zeros (torch 2.13).
"""

import torch
from torch import Tensor


def one_hot(numbers: Tensor, num_classes: int = -1) -> Tensor:
    """Return what torch documents for `torch.nn.functional.one_hot`: whole numbers (…) → (…, classes)."""
    classes = torch.arange(num_classes, device=numbers.device)
    known = torch.embedding(classes[:, None], numbers)  # (…, 1): the same numbers
    return (known == classes).long()


DECOMPOSITIONS = {torch.ops.aten.one_hot.default: one_hot}
