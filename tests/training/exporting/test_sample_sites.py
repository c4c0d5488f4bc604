"""Samples that drop at chosen sites only: what is before the first of them runs once a row."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from onnx import ModelProto
from torch import Tensor, nn

from service.engine.masks import draw_masks
from service.engine.network import Network
from service.loading.load import open_graphs
from service.model.runtime import Array
from tests.training.example_networks import CASES
from training.errors import CannotExport, ConfigError, VerificationFailed
from training.exporting.export import export
from training.exporting.exported import Exported
from training.exporting.selection import select
from training.exporting.verify import verify

SEED, PASSES = 3, 9
EXAMPLE = (torch.linspace(-2, 2, 42).reshape(7, 6),)
NAMES = ("encoder.0.drop", "encoder.1.drop", "head.drop", "head.drop:2", "odd[1]")


class Named(nn.Module):
    """Three sites of dropout between layers without bias, so that its samples are products by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Dropout(0.2), nn.Dropout(0.5), nn.Dropout(0.4)
        self.one, self.two, self.head = (nn.Linear(*size, bias=False) for size in ((6, 8), (8, 5), (5, 3)))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.one(self.first(x)))
        answer: Tensor = self.head(self.third(torch.tanh(self.two(self.second(hidden)))))
        return answer


@pytest.fixture(scope="module")
def named() -> Named:
    torch.manual_seed(0)
    return Named()


def products(exported: Exported) -> list[int]:
    def of(model: ModelProto) -> int:
        return sum(node.op_type in {"Gemm", "MatMul"} for node in model.graph.node)

    return [of(exported.predict), of(exported.sample)]


def masks_of(exported: Exported) -> list[Array]:
    return [draw_masks(SEED, i, site.p, site.shape, 0, PASSES) for i, site in enumerate(exported.sites)]


def answers(exported: Exported, masks: Sequence[Array]) -> Array:
    folder = exported.weights.folder
    graphs = open_graphs(exported.predict.SerializeToString(), exported.sample.SerializeToString(), folder)
    network = Network(*graphs)
    return network.sample(network.begin({"input": EXAMPLE[0].numpy()})[1], masks)


def by_hand(network: Named, masks: dict[str, Array]) -> Array:
    """Torch's own layers, with the masks (passes, 1, units) of the named sites and no dropout at others."""

    def drop(site: str, x: Tensor) -> Tensor:
        return x * torch.from_numpy(masks[site]) if site in masks else x

    with torch.no_grad():
        hidden = torch.tanh(network.one(drop("first", EXAMPLE[0].expand(PASSES, -1, -1))))
        return np.asarray(network.head(drop("third", torch.tanh(network.two(drop("second", hidden))))).numpy())


@pytest.mark.parametrize(
    ("patterns", "sampled", "in_sample"),
    [
        ((), ("first", "second", "third"), 3),
        (("last:1",), ("third",), 1),
        (("last:2",), ("second", "third"), 2),
        (("second",), ("second",), 2),
        (("first", "third"), ("first", "third"), 3),
    ],
)
def test_only_the_selected_sites_drop(
    named: Named, patterns: tuple[str, ...], sampled: tuple[str, ...], in_sample: int
) -> None:
    exported = export(named, EXAMPLE, sample_sites=patterns)
    assert tuple(site.name for site in exported.sites) == sampled
    assert set(exported.bypassed_sites) == {"first", "second", "third"} - set(sampled)
    masks = masks_of(exported)
    expected = by_hand(named, dict(zip(sampled, masks, strict=True)))
    assert np.ptp(expected, axis=0).max() > 0.1
    np.testing.assert_allclose(answers(exported, masks), expected, rtol=1e-5, atol=1e-6)
    assert products(exported) == [3, in_sample]  # the others are in the body, once a row
    assert [value.name for value in exported.sample.graph.input if value.name.startswith("mask_")] == [
        f"mask_{i}" for i in range(len(sampled))
    ]


@pytest.mark.parametrize(
    "name", ["cnn", "transformer, rows first", "lstm", "shared", "time first", "stochastic depth", "attention weights"]
)
def test_networks_of_all_kinds_are_verified_with_their_last_site_alone(name: str) -> None:
    torch.manual_seed(0)
    module, example = CASES[name]()
    exported = export(module, example, sample_sites=("last:1",))
    everything = export(module, example)
    assert (exported.sites, len(exported.bypassed)) == (everything.sites[-1:], len(everything.sites) - 1)
    checks = {check.name: check.detail for check in verify(module, exported, example).checks}
    draws = checks["every random draw of the network is a mask of the graph"]
    assert draws == "1 a pass" + (f"; bypassed: {', '.join(exported.bypassed_sites)}" if exported.bypassed else "")


def test_verification_finds_a_site_that_is_off_in_the_graph_but_not_in_the_network(named: Named) -> None:
    """Were bypassed draws given masks as well, or left to chance, nothing of this would agree."""
    last, everything = export(named, EXAMPLE, sample_sites=("last:1",)), export(named, EXAMPLE)
    wrong = Exported(**{**vars(last), "bypassed": {1: last.bypassed[0], 2: last.bypassed[1]}})
    with pytest.raises(VerificationFailed, match=r"third drops with p=0\.4, the network with p=0\.2"):
        verify(named, wrong, EXAMPLE)
    fewer = Exported(**{**vars(last), "bypassed": {0: last.bypassed[0]}})
    with pytest.raises(VerificationFailed, match="3 draws, 1 sites, 1 bypassed ones, 1 mask inputs"):
        verify(named, fewer, EXAMPLE)
    # the graphs of all sites, with the first two masks of ones built in, are those of the last site; without, not
    masks = masks_of(everything)
    assert not np.allclose(answers(everything, masks), answers(last, masks[2:]), atol=1e-2)
    ones = [np.ones_like(mask) for mask in masks[:2]]
    np.testing.assert_allclose(answers(everything, [*ones, masks[2]]), answers(last, masks[2:]), atol=1e-6)


def test_a_graph_that_drops_at_another_site_than_it_says_fails() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(6, 6), nn.Dropout(0.5), nn.Tanh(), nn.Linear(6, 6), nn.Dropout(0.5), nn.Linear(6, 3)
    )
    first, last = (export(module, EXAMPLE, sample_sites=(name,)) for name in ("1", "4"))
    wrong = Exported(**{**vars(first), "sites": last.sites, "bypassed": last.bypassed})
    with pytest.raises(VerificationFailed, match=r"sample\.onnx answers as the network does with the same masks"):
        verify(module, wrong, EXAMPLE)


def test_a_lone_pattern_may_be_given_as_it_is(named: Named) -> None:
    assert [site.name for site in export(named, EXAMPLE, sample_sites="third").sites] == ["third"]


def test_a_pattern_that_selects_nothing_is_refused_with_the_names(named: Named) -> None:
    with pytest.raises(ConfigError, match=r"sample_sites: 'fourth' selects no dropout site; there are: first, sec"):
        export(named, EXAMPLE, sample_sites=("first", "fourth"))


def test_alpha_dropout_cannot_be_left_out() -> None:
    module = nn.Sequential(nn.Linear(6, 12), nn.AlphaDropout(0.2), nn.Linear(12, 8), nn.Dropout(0.5), nn.Linear(8, 4))
    with pytest.raises(CannotExport, match="sample_sites: 1 is alpha dropout, which cannot be left out"):
        export(module, EXAMPLE, sample_sites=("3",))
    only_alpha = export(module, EXAMPLE, sample_sites=("1",))
    assert [site.kind for site in only_alpha.sites] == ["alpha"]
    verify(module, only_alpha, EXAMPLE)


@pytest.mark.parametrize(
    ("patterns", "numbers"),
    [
        ((), (0, 1, 2, 3, 4)),
        (("encoder.*",), (0, 1)),
        (("head.drop",), (2,)),  # a name, not the beginning of one
        (("head.drop*",), (2, 3)),
        (("odd[1]",), (4,)),  # a name before it is a pattern
        (("last:2", "encoder.0.*"), (0, 3, 4)),
        (("last:9",), (0, 1, 2, 3, 4)),
        (("last:1", "odd*"), (4,)),
    ],
)
def test_patterns(patterns: tuple[str, ...], numbers: tuple[int, ...]) -> None:
    assert select(NAMES, patterns) == numbers


@pytest.mark.parametrize("pattern", ["last:0", "last:-1", "last:", "last:x", "ENCODER.*", "", "drop", "auto:0.9"])
def test_patterns_that_select_nothing(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"there are: encoder\.0\.drop, "):
        select(NAMES, (pattern,))
