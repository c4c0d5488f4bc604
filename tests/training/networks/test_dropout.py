import pytest
import torch
from torch import nn

from training.networks.dropout import cheap_masks


def network(p: float) -> nn.Sequential:
    return nn.Sequential(nn.Dropout(p), nn.Dropout2d(p))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_share_p_is_dropped_and_the_mean_stays(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layers, ones = network(p).train(), torch.ones(1000, 1000, dtype=dtype)
    with cheap_masks(layers):
        found = layers[0](ones)
    assert found.dtype == dtype
    assert (found == 0).float().mean().item() == pytest.approx(p, abs=5 * 0.5e-3)  # five standard errors at most
    kept = torch.tensor(1 / (1 - p)).to(dtype)
    assert torch.equal(found[found != 0], kept.expand(int((found != 0).sum())))


def test_gradients_are_those_of_the_mask() -> None:
    layers, x = network(0.5).train(), torch.ones(50, requires_grad=True)
    with cheap_masks(layers):
        found = layers[0](x)
    found.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, found.detach())


def test_where_all_is_dropped_zeros_are_left_as_torch_has_them() -> None:
    layers, values = network(1.0).train(), torch.randn(50)
    with cheap_masks(layers):
        assert torch.equal(layers[0](values).abs(), torch.zeros(50))


def test_nothing_is_dropped_in_evaluation_and_the_modules_are_torchs_own_afterwards() -> None:
    layers = network(0.5).eval()
    with cheap_masks(layers):
        assert torch.equal(layers[0](torch.ones(9)), torch.ones(9))
        assert "forward" not in vars(layers[1])
    assert "forward" not in vars(layers[0])
