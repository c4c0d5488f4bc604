"""Networks of all kinds, exported and verified; what cannot be exported is refused with the reason."""

import math
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from service.engine.masks import draw_masks
from service.engine.network import Network
from service.model.runtime import Graph
from tests.training.example_networks import CASES, Cnn, Mlp, Tokens, tokens
from training.errors import CannotExport
from training.exporting.export import export
from training.exporting.exported import Exported
from training.exporting.verify import verify


@cache
def make(name: str) -> tuple[nn.Module, tuple[Tensor, ...], Exported]:
    torch.manual_seed(0)
    module, example = CASES[name]()
    names = [f"input_{i}" for i in range(len(example))]
    return module, example, export(module, example, input_names=names)


@pytest.mark.parametrize("name", CASES)
def test_every_network_is_exported_and_verified(name: str) -> None:
    module, example, exported = make(name)
    assert len(verify(module, exported, example).checks) == 11


@pytest.mark.parametrize(
    ("name", "sites"),
    [
        ("mlp with BatchNorm", [("3", "dropout", 0.25, (16,))]),
        ("cnn", [("drop", "feature", 0.3, (4, 1, 1)), ("dropout", "dropout", 0.4, (36,))]),
        ("alpha", [("2", "alpha", 0.2, (12,))]),
        ("feature alpha", [("2", "alpha", 0.35, (6, 1, 1))]),
        ("shared", [("block.2", "dropout", 0.3, (5,)), ("block.2:2", "dropout", 0.3, (5,))]),
        (
            "stacked, on the input",
            [("0", "dropout", 0.1, (6,)), ("2", "dropout", 0.5, (9,)), ("3", "dropout", 0.3, (9,))],
        ),
        ("time first", [("drop", "dropout", 0.4, (5, 4)), ("drop:2", "dropout", 0.4, (5, 4))]),
        ("attention weights", [("attention", "dropout", 0.3, (2, 5, 5))]),
        ("lstm", [("recurrent", "dropout", 0.4, (5, 4)), ("drop", "dropout", 0.2, (4,))]),
    ],
)
def test_sites_have_the_modules_names_and_their_masks_shapes(name: str, sites: list[object]) -> None:
    _, _, exported = make(name)
    assert [(site.name, site.kind, site.p, site.shape) for site in exported.sites] == sites


def test_attention_dropout_is_not_lost() -> None:
    exported = export(Tokens(batch_first=True, layers=1), (tokens(3, 5),))
    assert [(site.name.removeprefix("encoder.layers.0."), site.shape) for site in exported.sites] == [
        ("self_attn", (2, 5, 5)),
        ("dropout1", (5, 8)),
        ("dropout", (5, 12)),
        ("dropout2", (5, 8)),
    ]


def test_specifications_and_names_of_the_graphs() -> None:
    _, _, exported = make("two inputs")
    assert [(spec.name, spec.dtype, spec.shape) for spec in exported.inputs] == [
        ("input_0", "float32", (4,)),
        ("input_1", "int64", (1,)),
    ]
    assert (exported.output.name, exported.output.shape) == ("output", (2,))
    sample = Graph(exported.sample.SerializeToString())
    assert [(tensor.name, tensor.shape) for tensor in sample.inputs] == [
        ("body_0", ("rows", 5, 1)),
        ("body_1", ("rows", 5)),
        ("mask_0", ("passes", 1, 5)),
    ]
    assert [(tensor.name, tensor.shape) for tensor in sample.outputs] == [("output", ("passes", "rows", 2))]


@pytest.mark.parametrize("training", [True, False])
def test_the_module_is_left_as_it_was(training: bool) -> None:
    module = Mlp().train(training)
    module[3].train(not training)
    modes = [part.training for part in module.modules()]
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    generator = torch.get_rng_state()
    example = (torch.ones(4, 6),)
    verify(module, export(module, example), example)
    assert [part.training for part in module.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)


def test_no_path_of_this_machine_is_in_the_files() -> None:
    _, _, exported = make("cnn")
    for model in (exported.predict, exported.sample):
        content = model.SerializeToString()
        assert not model.metadata_props
        assert str(Path(torch.__file__).parent).encode() not in content
        assert str(Path(__file__).parent).encode() not in content
        assert b"Module" not in content


def test_what_no_mask_reaches_is_in_the_other_graph() -> None:
    exported = export(Cnn(), (torch.randn(3, 1, 8, 8),))
    counts = [sum(node.op_type == "Conv" for node in graph.graph.node) for graph in (exported.predict, exported.sample)]
    assert counts == [1, 0]


def test_a_pass_depends_on_its_own_masks_alone() -> None:
    module, example, exported = make("cnn")
    network = Network(*verify(module, exported, example).open())
    masks = [draw_masks(5, i, site.p, site.shape, 0, 6) for i, site in enumerate(exported.sites)]
    _, begun = network.begin({"input_0": example[0].numpy()})
    together = network.sample(begun, masks)
    alone = network.sample(begun, [mask[4:5] for mask in masks])
    np.testing.assert_allclose(together[4:5], alone, rtol=0, atol=1e-6)


class Lambda(nn.Module):
    """Two linear layers and whatever the test does between them."""

    steps: Tensor

    def __init__(self, between: Callable[["Lambda", Tensor], Tensor], outputs: int = 2) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, outputs)
        self.between = between
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x: Tensor) -> object:
        return self.between(self, self.one(x))

    def drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5, self.training)


def counting(net: Lambda, x: Tensor) -> Tensor:
    if net.training:
        net.steps += 1
    return net.drop(x) * net.steps


def branching(net: Lambda, x: Tensor) -> Tensor:
    return net.drop(x) if x.abs().sum() > 0 else x


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        (lambda net, x: net.two(x), "no active dropout"),
        (lambda net, x: F.dropout(x, 0.0, net.training), "no active dropout"),
        (lambda net, x: F.dropout(net.drop(x), 1.0, net.training), "its p is 1.0"),
        (lambda net, x: net.two(x) if net.drop(x) is not x else x, "draws dropout noise 1 times, .* has 0"),
        (lambda net, x: net.drop(x) if net.drop(x) is not x else x, "draws dropout noise 2 times, .* has 1"),
        (lambda net, x: net.drop(x) + torch.randn_like(x), "aten.randn_like.default, which is not dropout"),
        (lambda net, x: net.drop(x) * (torch.rand_like(x) < 0.5), "aten.rand_like.default, which is not dropout"),
        (lambda net, x: net.drop(x) + torch.bernoulli(x.sigmoid()), "aten.bernoulli.default, which is not dropout"),
        (lambda net, x: F.gumbel_softmax(net.drop(x)), "aten.exponential_.default, which is not dropout"),
        (lambda net, x: F.rrelu(net.drop(x)), "torch cannot export the network"),
        (lambda net, x: net.drop(F.embedding_bag((x > 0).long(), net.two.weight)), "control flow is not supported"),
        (lambda net, x: F.linear(x, net.drop(net.two.weight)), "draws dropout noise 1 times, .* has 0"),
        (lambda net, x: net.two(net.drop(x))[:, 0], r"must be of shape \(rows, outputs\)"),
        (lambda net, x: net.drop(x).T, r"must be of shape \(rows, outputs\)"),
        (lambda net, x: net.two(net.drop(x))[:, :0], r"must be of shape \(rows, outputs\)"),
        (lambda net, x: (net.drop(x), x), "returns a tuple"),
        (lambda net, x: net.drop(x) > 0, "must be torch.float32, which is served; it is torch.bool"),
        (lambda net, x: net.drop(x).double(), "must be torch.float32, which is served; it is torch.float64"),
        (lambda net, x: net.drop(x).long(), "must be torch.float32, which is served; it is torch.int64"),
        (lambda net, x: net.drop(x).half(), "must be torch.float32, which is served; it is torch.float16"),
        (lambda net, x: F.dropout(x, 0.3, True), "in evaluation mode too.*needs training=self.training"),
        (lambda net, x: F.dropout(x, 4e-8, net.training), "1 times, .* has 0 .* has a p below 5e-8"),
        (counting, "changes its buffer 'steps'"),
        (branching, "torch cannot export the network"),
        (lambda net, x: net.drop(x).view(3, -1), "torch cannot export the network"),
    ],
)
def test_refusals_say_why(between: Callable[[Lambda, Tensor], Tensor], reason: str) -> None:
    with pytest.raises(CannotExport, match=reason):
        export(Lambda(between), (torch.randn(3, 4),))


def own_generator(net: Lambda, x: Tensor) -> Tensor:
    """As Keras draws for a layer that has a seed of its own."""
    return x * (torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) < 0.5) if net.training else x


def fails(net: Lambda, x: Tensor) -> Tensor:
    raise NotImplementedError


def fails_in_export(net: Lambda, x: Tensor) -> Tensor:
    if torch.compiler.is_exporting():
        raise ValueError
    return net.drop(x)


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        (own_generator, "with aten.rand.generator and a generator of its own, which cannot be exported"),
        (lambda net, x: net.drop(x) * random.random(), "passes in evaluation mode differ: it draws none of torch's"),
        (lambda net, x: net.drop(x) * math.nan, "outputs for the example have numbers that are not finite$"),
        (
            lambda net, x: net.drop(x) + net.missing,
            "AttributeError: 'Lambda' object has no .*, in test_export.py, line",
        ),
        (lambda net, x: net._modules["key"], "KeyError: 'key', in test_export.py, line"),
        (fails, "NotImplementedError, in test_export.py, line"),
        (fails_in_export, "torch cannot export the network: ValueError$"),
        (branching, "it branches on values of its input, which a graph cannot"),
        (lambda net, x: net.drop(torch.stack(list(x))), "it has a loop over the rows, or a fixed number of rows"),
    ],
)
def test_reasons_help(between: Callable[[Lambda, Tensor], Tensor], reason: str) -> None:
    with pytest.raises(CannotExport, match=reason):
        export(Lambda(between), (torch.randn(3, 4),))


def test_draws_in_evaluation_mode_that_change_nothing_are_no_reason_to_refuse() -> None:
    module, example = Lambda(lambda net, x: net.drop(x) + 0 * F.dropout(x, 0.3, True)), (torch.randn(3, 4),)
    assert len(verify(module, export(module, example), example).sites) == 2


def not_a_number() -> nn.Module:
    module = Mlp()
    nn.init.constant_(module[0].bias, math.nan)  # type: ignore[arg-type]
    return module


def with_a_result() -> nn.Module:
    module = Mlp()
    module.last = module[0](torch.ones(1, 6))
    return module


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (lambda: "net.pt", "module: expected a torch.nn.Module; found str"),
        (lambda: Mlp().state_dict(), "module: expected a torch.nn.Module; found OrderedDict"),
        (lambda: Mlp, "module: expected a torch.nn.Module; found the class Mlp itself"),
        (lambda: nn.Sequential(nn.LazyLinear(4), nn.Dropout()), "its 0.weight has no values yet; run it once"),
        (lambda: nn.Sequential(nn.Linear(6, 4, device="meta"), nn.Dropout()), "its 0.weight has no values yet"),
        (with_a_result, "module: cannot be copied: RuntimeError: Only Tensors created explicitly by the user"),
        (not_a_number, "numbers that are not finite; its 0.bias has such numbers, too"),
        (lambda: nn.Sequential(nn.Linear(6, 4), nn.Dropout(0)), "no active dropout .*; 1 draw nothing: they are not"),
        (
            lambda: nn.Sequential(nn.Linear(6, 4), Lambda(lambda net, x: F.dropout(x, 0.3, True))),
            r"mode too \(in 1\), so",
        ),
        (
            lambda: nn.Sequential(
                nn.Dropout(), nn.Linear(6, 4), Lambda(lambda net, x: net.two(x) if net.drop(x) is not x else x)
            ),
            r"draws dropout noise 2 times, .* has 1 dropout sites; lost: 2 \(1\): the rest",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_modules_are_checked(module: Callable[[], Any], reason: str) -> None:
    with pytest.raises(CannotExport, match=reason):
        export(module(), (torch.randn(3, 6),))


def test_a_layer_that_drops_everything_is_named() -> None:
    with pytest.raises(CannotExport, match="1: its p is 1, which drops everything"):
        export(nn.Sequential(nn.Linear(4, 4), nn.Dropout(1.0), nn.Linear(4, 2)), (torch.randn(3, 4),))


class Plain(nn.Module):
    """torch's plain recurrent network, whose dropout its exporter loses."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.head = nn.RNN(3, 4, 2, dropout=0.4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> object:
        return self.head(self.recurrent(x)[0][:, -1])


def test_dropout_that_the_exporter_loses_is_missed() -> None:
    with pytest.raises(CannotExport, match=r"draws dropout noise 1 times, .* has 0 .*got lost in torch's exporter"):
        export(Plain(), (torch.randn(3, 5, 3),))


@pytest.mark.parametrize(
    ("example", "names", "reason"),
    [
        ((torch.ones(3, 6),), ("a", "b"), "input_names: expected 1, one for each .*; found 'a', 'b'"),
        ((torch.ones(3, 6), torch.ones(3, 6)), ("a", "a"), "input_names: expected 2, one for each"),
        (torch.ones(3, 6), ("a",), r"example: expected a tuple .* such as \(rows,\); found a Tensor"),
        (([[1.0]],), ("a",), "example: expected a tuple with a tensor for each input"),
        ((torch.ones(6),), ("a",), r"cannot be run .* inputs of \(3,\): .* pass a single row x as x\[None\]"),
        ((torch.ones(3, 6), torch.ones(3, 6)), ("a", "b"), "cannot be run .* takes 2 positional arguments"),
        ((torch.ones(3, 6).half(),), ("a",), "cannot be run"),
        ((torch.ones(3, 6), torch.ones(2, 6)), ("a", "b"), "same number of rows"),
        ((torch.ones(0, 6),), ("a",), "same number of rows, at least one"),
        ((torch.tensor(1.0),), ("a",), "same number of rows, at least one"),
        ((torch.ones(3, 6),), ("mask_0",), "names that begin with mask_"),
    ],
)
def test_examples_are_checked(example: Any, names: tuple[str, ...], reason: str) -> None:
    with pytest.raises(CannotExport, match=reason):
        export(Mlp(), example, input_names=names)
