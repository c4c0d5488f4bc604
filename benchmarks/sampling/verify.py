"""Verify that a contender's mean probabilities are those of the network's dropout, before it is timed."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.sampling.torch_network import dropout_on, load
from service.engine.masks import draw_masks
from service.model.manifest import read_manifest

Float64 = NDArray[np.float64]

REFERENCE_PASSES = 4000
STANDARD_ERRORS = 7.0
"""The tolerance. Five would do for independent samples; those of onnxruntime's Dropout are slightly correlated."""
SMALL = 1e-3
"""Added to the standard errors, as means of rare answers are not normally distributed."""
SAME_MASKS = 1e-5
"""The tolerance with the same masks."""


class WrongAnswer(Exception):
    """A contender computes another result."""


class Reference(NamedTuple):
    """Mean and variance of very many samples of torch: (rows, classes) each."""

    mean: Float64
    variance: Float64


@torch.inference_mode()
def make_reference(folder: Path) -> Reference:
    """Return the reference for all rows in the folder."""
    torch.manual_seed(1)
    network, inputs = dropout_on(load(folder)), _inputs(folder)
    samples = torch.stack([network(inputs).softmax(-1) for _ in range(REFERENCE_PASSES)]).double()
    return Reference(samples.mean(dim=0).numpy(), samples.var(dim=0).numpy())


def standard_errors(mean: Any, reference: Reference, passes: int) -> float:
    """Return the largest distance of a mean over `passes` from the reference; raise WrongAnswer if it is too large."""
    rows = len(mean)
    error = np.sqrt(reference.variance[:rows] * (1 / passes + 1 / REFERENCE_PASSES))
    distance = np.abs(np.asarray(mean) - reference.mean[:rows])
    if (distance > STANDARD_ERRORS * error + SMALL).any():
        raise WrongAnswer(f"its mean is {(distance / error).max():.1f} standard errors from torch's")
    return float((distance / error).max())


@torch.inference_mode()
def same_masks_error(mean: Any, folder: Path, passes: int, seed: int) -> float:
    """Return the largest distance from torch's mean with the masks of the seed; raise WrongAnswer beyond 1e-5."""
    sites = read_manifest(folder / "published" / folder.name / "1").sites
    masks = [torch.from_numpy(draw_masks(seed, i, s.p, s.shape, 0, passes)) for i, s in enumerate(sites)]
    remaining = iter(masks)
    values = _inputs(folder)[: len(mean)]
    for layer in load(folder):
        values = values * next(remaining) if isinstance(layer, nn.Dropout) else layer(values)  # (passes, rows, units)
    expected = values.softmax(-1).double().mean(dim=0).numpy()
    distance = float(np.abs(np.asarray(mean) - expected).max())
    if distance > SAME_MASKS:
        raise WrongAnswer(f"its mean is {distance:.1e} from that of torch with the same masks")
    return distance


def _inputs(folder: Path) -> torch.Tensor:
    return torch.from_numpy(np.load(folder / "inputs.npy"))
