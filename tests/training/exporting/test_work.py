"""What a graph computes for a row in a pass, against the arithmetic of its layers."""

import torch
from torch import nn

from service.model.manifest import Work
from training.exporting.cost import measure_work
from training.exporting.export import export


def work_of(module: nn.Module, example: torch.Tensor) -> tuple[Work, Work]:
    """Return the work of predict.onnx and of sample.onnx."""
    exported = export(module, (example,))
    return measure_work(exported.predict), measure_work(exported.sample)


def test_a_dense_network() -> None:
    network = nn.Sequential(
        nn.Linear(64, 256), nn.ReLU(), nn.Dropout(), nn.Linear(256, 256), nn.Dropout(), nn.Linear(256, 10)
    )
    predict, sample = work_of(network, torch.randn(5, 64))
    assert predict.multiply_adds == 64 * 256 + 256 * 256 + 256 * 10
    assert sample.multiply_adds == 256 * 256 + 256 * 10
    assert predict.bytes >= 4 * (2 * 256 + 10)
    assert sample.bytes >= 4 * (256 + 10)


def test_a_convolution_computes_more_than_its_weights() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Dropout2d(), nn.Conv2d(8, 4, 5, stride=2), nn.Flatten(), nn.Linear(4 * 6 * 6, 2)
    )
    predict, sample = work_of(network, torch.randn(5, 3, 18, 18))
    behind = 4 * 6 * 6 * 8 * 25 + 4 * 6 * 6 * 2
    assert predict.multiply_adds == 8 * 16 * 16 * 3 * 9 + behind
    assert sample.multiply_adds == behind
    assert predict.bytes >= 4 * (8 * 16 * 16 + 4 * 6 * 6 + 2)


def test_attention_counts_its_products_of_activations() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop, self.out = nn.Dropout(), nn.Linear(16, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weights = self.drop((x @ x.transpose(1, 2)).softmax(-1))  # (rows, 7, 7)
            answer: torch.Tensor = self.out((weights @ x).mean(1))
            return answer

    predict, sample = work_of(Attention(), torch.randn(5, 7, 16))
    assert predict.multiply_adds == 2 * 7 * 7 * 16 + 16 * 2
    assert sample.multiply_adds == 7 * 7 * 16 + 16 * 2
