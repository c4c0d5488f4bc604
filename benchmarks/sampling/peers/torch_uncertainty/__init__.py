"""A torchvision built for CUDA, imported by torch-uncertainty, misses its operators beside a torch without CUDA.

They are not needed here; that they are known by name is enough.
"""

import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:
    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float threshold) -> Tensor")
