"""Operators that torch's ONNX exporter changes (torch 2.13), decomposed before the export.

The exporter turns fused attention into MatMul → Softmax → MatMul without its dropout, and one_hot into a comparison
that maps wrong numbers to zeros. These decompositions keep the dropout and the refusal.
"""

import math

import torch
from torch import Tensor


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return what torch documents for `torch.nn.functional.scaled_dot_product_attention`: (…, L, E) queries → (…, L,
    Ev).
    """
    if enable_gqa:
        groups = query.size(-3) // key.size(-3)
        key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
    scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.size(-1)) if scale is None else scale)  # (…, L, S)
    if is_causal:
        seen = torch.ones(query.size(-2), key.size(-2), dtype=torch.bool, device=query.device).tril()
        weights = torch.softmax(scores.masked_fill(~seen, -math.inf), -1)
    elif attn_mask is not None:
        weights = _masked_softmax(scores, attn_mask)
    else:
        weights = torch.softmax(scores, -1)
    return torch.dropout(weights, dropout_p, dropout_p > 0) @ value


def _masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Return the weights (…, L, S) of the keys; those of a query without visible keys are 0, as torch's are."""
    hidden = ~mask if mask.dtype == torch.bool else mask == -math.inf
    shifted = scores.masked_fill(hidden, -math.inf) if mask.dtype == torch.bool else scores + mask
    return torch.softmax(shifted, -1).masked_fill(hidden.all(-1, keepdim=True), 0.0)


def one_hot(numbers: Tensor, num_classes: int = -1) -> Tensor:
    """Return what torch documents for `torch.nn.functional.one_hot`, by a lookup: whole numbers (…) → (…, classes)."""
    classes = torch.arange(num_classes, device=numbers.device)
    known = torch.embedding(classes[:, None], numbers)  # (…, 1): the same numbers
    return (known == classes).long()


DECOMPOSITIONS = {
    torch.ops.aten.scaled_dot_product_attention.default: attention,
    torch.ops.aten.one_hot.default: one_hot,
}
"""Operators that are replaced before the export."""
