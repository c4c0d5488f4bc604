"""Publish the networks to serve, and compute the right answers to their rows.

`python -m benchmarks.serving.models FOLDER` runs in a process of its own, as torch must not be in the memory of the
process that measures.
"""

import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.sampling.models import write_products
from benchmarks.serving.products import ONCE_A_ROW, ONCE_A_SAMPLE
from benchmarks.serving.subjects import CLASSES, PASSES, ROWS, SUBJECTS, Subject
from service.engine.masks import draw_masks
from service.model.manifest import PREDICT_GRAPH, SAMPLE_GRAPH, Manifest
from training import publish_module

SEED = 0
Float32 = NDArray[np.float32]


def main(folder: Path) -> None:
    """Publish every subject in a folder of its own, with its rows."""
    for subject in SUBJECTS.values():
        generator = torch.Generator().manual_seed(SEED)
        drawn = torch.randn((ROWS, subject.features), generator=generator)
        sent = [[round(value, 4) for value in row] for row in drawn.tolist()]
        rows = np.array(sent, dtype=np.float32)
        published, manifest = publish_module(
            mlp(subject),
            (torch.from_numpy(rows),),
            name="mlp",
            models=folder / subject.name / "models",
            labels=[str(number) for number in range(CLASSES)],
        )
        answers = {
            "rows": sent,
            "predict": deterministic(published, rows).tolist(),
            "uncertainty": sampled(published, manifest, rows).tolist(),
        }
        (folder / subject.name / "rows.json").write_text(json.dumps(answers))
        products = folder / subject.name / "products"
        products.mkdir()
        layers = list(pairwise((subject.features, *subject.hidden, CLASSES)))
        write_products(products / ONCE_A_ROW, layers[:1])
        write_products(products / ONCE_A_SAMPLE, layers[1:])


def mlp(subject: Subject) -> nn.Sequential:
    """Return linear layers with ReLU between, and dropout before all but the first; random weights."""
    torch.manual_seed(SEED)
    layers: list[nn.Module] = [nn.Linear(subject.features, subject.hidden[0]), nn.ReLU()]
    for width, units in zip(subject.hidden, (*subject.hidden[1:], CLASSES), strict=True):
        layers += [nn.Dropout(0.5), nn.Linear(width, units), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def deterministic(published: Path, rows: Float32) -> Float32:
    """Return the probabilities (rows, classes) of onnxruntime itself."""
    return softmax(run(published / PREDICT_GRAPH, [rows]))


def sampled(published: Path, manifest: Manifest, rows: Float32) -> Float32:
    """Return the mean probabilities (rows, classes) of the service's default samples."""
    sites = enumerate(manifest.sites)
    masks = [draw_masks(SEED, number, site.p, site.shape, 0, PASSES) for number, site in sites]
    _, *begun = run_all(published / PREDICT_GRAPH, [rows])
    drawn = softmax(run(published / SAMPLE_GRAPH, [*(begun or [rows]), *masks]))  # (passes, rows, classes)
    mean: Float32 = drawn.mean(axis=0)
    return mean


def run(graph: Path, feeds: Sequence[Float32]) -> Float32:
    """Return a graph's first output."""
    return run_all(graph, feeds)[0]


def run_all(graph: Path, feeds: Sequence[Float32]) -> list[Float32]:
    """Return a graph's outputs."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in session.get_inputs()]
    return [np.asarray(output) for output in session.run(None, dict(zip(names, feeds, strict=True)))]


def softmax(logits: Float32) -> Float32:
    """Return the softmax over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: Float32 = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


if __name__ == "__main__":
    main(Path(sys.argv[1]))
