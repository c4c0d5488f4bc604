"""Register torchvision's operators, which a build for CUDA lacks beside a torch without CUDA.

torch-uncertainty imports torchvision, but the benchmark does not use the operators.
"""

import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:
    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float threshold) -> Tensor")
