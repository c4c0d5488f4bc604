"""Verification must find what is wrong with graphs that were tampered with."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from tests.training.example_networks import Mlp
from training.errors import VerificationFailed
from training.exporting.export import export
from training.exporting.exported import Exported
from training.exporting.verify import Verified, verify

EXAMPLE = (torch.linspace(-2, 2, 24).reshape(4, 6),)


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Dropout(0.5), Mlp()[0], nn.ReLU(), nn.Linear(16, 6), nn.Dropout(0.5), nn.Linear(6, 3))


@pytest.fixture(scope="module")
def exported(module: nn.Module) -> Exported:
    return export(module, EXAMPLE)


def copy(model: ModelProto) -> ModelProto:
    made = ModelProto()
    made.CopyFrom(model)
    return made


def changed_weight(model: ModelProto) -> ModelProto:
    made = copy(model)
    weight = next(tensor for tensor in made.graph.initializer if tensor.data_type == TensorProto.FLOAT)
    array = numpy_helper.to_array(weight).copy()
    array.flat[0] += 0.01
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    return made


def missing_weight(model: ModelProto) -> ModelProto:
    made = copy(model)
    made.graph.initializer.append(numpy_helper.from_array(np.zeros(3, dtype=np.float32), "extra"))
    return made


def swapped_masks(model: ModelProto) -> ModelProto:
    made = copy(model)
    for node in made.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = {"mask_0": "mask_1", "mask_1": "mask_0"}.get(name, name)
    return made


def unscaled_mask(model: ModelProto) -> ModelProto:
    """Kept units are not scaled up; masks of ones show nothing of it."""
    made = copy(model)
    node = next(node for node in made.graph.node if "mask_0" in node.input and node.op_type == "Mul")
    node.input[list(node.input).index("mask_0")] = "sign"
    made.graph.node.insert(0, helper.make_node("Sign", ["mask_0"], ["sign"]))
    return made


def random_node(model: ModelProto) -> ModelProto:
    made = copy(model)
    made.graph.node.append(helper.make_node("RandomNormalLike", [made.graph.output[0].name], ["noise"], name="late"))
    return made


def named_path(model: ModelProto) -> ModelProto:
    """Where the publisher works, in a place that is no metadata."""
    made = copy(model)
    made.graph.name = f"{Path.cwd()}/network.py"
    return made


def first_pass_only(model: ModelProto) -> ModelProto:
    """All passes get the second site's mask of the first; a single pass shows nothing of it."""
    made = copy(model)
    node = next(node for node in made.graph.node if "mask_1" in node.input and node.op_type == "Mul")
    node.input[list(node.input).index("mask_1")] = "first"
    made.graph.node.insert(0, helper.make_node("Gather", ["mask_1", "zero"], ["first"]))
    made.graph.node.insert(0, helper.make_node("Constant", [], ["zero"], value_ints=[0]))
    return made


def off_by(amount: float) -> "Damage":
    """The answers are wrong by so much."""

    def damage(model: ModelProto) -> ModelProto:
        made = copy(model)
        name = made.graph.output[0].name
        next(node for node in made.graph.node if name in node.output).output[0] = "right"
        made.graph.node.append(helper.make_node("Constant", [], ["amount"], value_float=amount))
        made.graph.node.append(helper.make_node("Add", ["right", "amount"], [name]))
        return made

    return damage


def other_output(model: ModelProto) -> ModelProto:
    """It says so itself: what comes out is of double precision."""
    made = copy(model)
    name = made.graph.output[0].name
    next(node for node in made.graph.node if name in node.output).output[0] = "single"
    made.graph.node.append(helper.make_node("Cast", ["single"], [name], to=TensorProto.DOUBLE))
    made.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    return made


def noted_path(model: ModelProto) -> ModelProto:
    made = copy(model)
    made.graph.node[0].doc_string = "/home/someone/network.py, line 3"
    return made


def smaller_mask(model: ModelProto) -> ModelProto:
    made = copy(model)
    mask = next(value for value in made.graph.input if value.name == "mask_1")
    mask.CopyFrom(helper.make_tensor_value_info("mask_1", TensorProto.FLOAT, ["passes", 1, 1]))
    return made


def not_onnx(model: ModelProto) -> ModelProto:
    made = copy(model)
    made.graph.node[0].op_type = "NoSuchOperator"
    return made


Damage = Callable[[ModelProto], ModelProto]


def test_every_check_is_named_and_measured(module: nn.Module, exported: Exported) -> None:
    verified = verify(module, exported, EXAMPLE)
    assert len({check.name for check in verified.checks}) == len(verified.checks) == 11
    assert all(check.detail for check in verified.checks)


def test_verified_graphs_are_those_that_were_checked(module: nn.Module, exported: Exported) -> None:
    verified = verify(module, exported, EXAMPLE)
    assert verified.predict == exported.predict.SerializeToString()
    assert verified.sample == exported.sample.SerializeToString()
    assert (verified.sites, verified.inputs, verified.output) == (exported.sites, exported.inputs, exported.output)


def test_nothing_else_makes_verified_graphs(module: nn.Module, exported: Exported) -> None:
    verified = verify(module, exported, EXAMPLE)
    with pytest.raises(TypeError, match="only verify makes"):
        Verified(b"", b"", exported.weights, (), (), verified.inputs, verified.output, verified.checks, object())
    with pytest.raises(ValueError, match="seal"):
        replace(verified, predict=b"")  # type: ignore[call-arg]
    with pytest.raises(FrozenInstanceError):
        verified.predict = b""  # type: ignore[misc]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (changed_weight, "same weights: .* differs in 1 numbers"),
        (missing_weight, "same weights: 'extra' is only in sample.onnx"),
        (swapped_masks, "with the same masks: a relative difference of"),
        (unscaled_mask, "with the same masks: a relative difference of"),
        (random_node, "no random operator is left: sample.onnx has RandomNormalLike node 'late'"),
        (noted_path, "no local path or stack trace: sample.onnx has metadata at"),
        (named_path, "no local path or stack trace: sample.onnx contains the path /"),
        (first_pass_only, "with the same masks: a relative difference of"),
        (off_by(4e-6), "masks of ones give what predict.onnx gives: a relative difference of 4"),
        (off_by(float("nan")), "does not depend on the rows .*: at 1 rows: .* not finite"),
        (other_output, "the service can load the graphs: sample.onnx: output is float64"),
        (smaller_mask, "every random draw .*: mask_1 is"),
        (not_onnx, "the service can load the graphs: sample.onnx"),
    ],
)
def test_a_damaged_sample_graph_is_refused(module: nn.Module, exported: Exported, damage: Damage, reason: str) -> None:
    with pytest.raises(VerificationFailed, match=reason):
        verify(module, replace(exported, sample=damage(exported.sample)), EXAMPLE)


def test_the_same_damage_in_both_graphs_is_found(module: nn.Module, exported: Exported) -> None:
    both = replace(exported, predict=changed_weight(exported.predict), sample=changed_weight(exported.sample))
    with pytest.raises(VerificationFailed, match=r"predict.onnx answers as the network does: .* at 1 rows"):
        verify(module, both, EXAMPLE)


def test_graphs_of_another_network_are_refused(exported: Exported) -> None:
    with pytest.raises(VerificationFailed, match="1 draws, 2 sites, 2 mask inputs"):
        verify(Mlp(), exported, EXAMPLE)


def test_another_probability_is_found(module: nn.Module, exported: Exported) -> None:
    sites = (exported.sites[0].model_copy(update={"p": 0.4}), exported.sites[1])
    with pytest.raises(VerificationFailed, match=r"drops with p=0.4, the network with p=0.5"):
        verify(module, replace(exported, sites=sites), EXAMPLE)


def test_a_fixed_batch_size_is_found(module: nn.Module, exported: Exported) -> None:
    predict = copy(exported.predict)
    shape = numpy_helper.from_array(np.array([3, 3], dtype=np.int64), "fixed")
    predict.graph.initializer.append(shape)
    name = predict.graph.output[0].name
    next(node for node in predict.graph.node if name in node.output).output[0] = "before"
    predict.graph.node.append(helper.make_node("Reshape", ["before", "fixed"], [name]))
    sample = copy(exported.sample)
    sample.graph.initializer.append(shape)
    onnx.checker.check_model(predict)
    with pytest.raises(
        VerificationFailed, match=r"predict\.onnx: output is float32 \[3, 3\]; expected float32 \[any, 3\]"
    ):
        verify(module, replace(exported, predict=predict, sample=sample), EXAMPLE)


class Centred(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0, keepdim=True)


def test_answers_that_depend_on_other_rows_are_found() -> None:
    module = nn.Sequential(Centred(), nn.Dropout(0.5))
    with pytest.raises(VerificationFailed, match="does not depend on the rows beside it: a relative difference"):
        verify(module, export(module, EXAMPLE), EXAMPLE)


class CentredWords(nn.Module):
    """Each row's answer is taken from the batch's mean: a row by itself gets zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.drop = nn.Embedding(9, 6), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        words: Tensor = self.drop(self.embed(x)).mean(1)
        return words - words.mean(0)


WORDS = torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 0]])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (WORDS, "a relative difference"),
        (WORDS[:1], "the example's rows are all the same; give rows that differ"),
        (WORDS[:1].repeat(4, 1), "the example's rows are all the same; give rows that differ"),
        (torch.zeros(3, 3, dtype=torch.int64), "the example's rows are all the same"),
    ],
)
def test_whole_numbers_show_dependence_on_other_rows_or_are_refused(words: Tensor, reason: str) -> None:
    module = CentredWords()
    with pytest.raises(VerificationFailed, match=f"does not depend on the rows beside it: {reason}"):
        verify(module, export(module, (words,)), (words,))


@pytest.mark.parametrize("example", [torch.zeros(1, 6), torch.zeros(4, 6), torch.ones(4, 6), torch.ones(1, 6)])
def test_real_numbers_show_it_whatever_the_example(example: Tensor) -> None:
    module = nn.Sequential(Centred(), nn.Dropout(0.5))
    with pytest.raises(VerificationFailed, match="does not depend on the rows beside it: a relative difference"):
        verify(module, export(module, (example,)), (example,))


class SharedNoise(nn.Module):
    """What dropout changes is shared with the rows beside; without dropout nothing shows."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.drop(x) - x
        return x + changed.mean(0)


def test_thinned_networks_that_depend_on_other_rows_are_found() -> None:
    module = SharedNoise()
    with pytest.raises(VerificationFailed, match="does not depend on the rows beside it: a relative difference"):
        verify(module, export(module, EXAMPLE), EXAMPLE)


def test_a_network_that_needs_several_rows_is_found() -> None:
    norm = nn.BatchNorm1d(4, track_running_stats=False)
    module = nn.Sequential(nn.Linear(6, 4), norm, nn.Dropout(0.5))
    with pytest.raises(VerificationFailed, match="cannot run at 1 rows: Expected more than 1 value per channel"):
        verify(module, export(module, EXAMPLE), EXAMPLE)


def test_rows_that_get_the_same_answer_show_nothing() -> None:
    module = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Dropout(0.5))
    nn.init.constant_(module[0].bias, -100.0)  # type: ignore[arg-type]
    with pytest.raises(VerificationFailed, match="all rows of the example get the same answer, which shows nothing"):
        verify(module, export(module, EXAMPLE), EXAMPLE)


class Shares(nn.Module):
    """0/0 where all units are dropped, which no mask of ones shows."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.drop = nn.Linear(4, 6), nn.Dropout(0.75)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.drop(torch.exp(self.linear(x)))
        return h / h.sum(1, keepdim=True)


def test_answers_that_are_not_finite_are_found() -> None:
    module, example = Shares(), (torch.randn(4, 4),)
    with pytest.raises(VerificationFailed, match=r"with the same masks: at 1 rows: .* numbers that are not finite"):
        verify(module, export(module, example), example)


class Silent(nn.Module):
    """Its dropout reaches the output, times zero."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.weight = nn.Dropout(0.5), nn.Parameter(torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        dropped: Tensor = self.drop(x)
        return x + dropped * self.weight


def test_dropout_without_effect_on_the_answer_is_found() -> None:
    silent = Silent()
    with pytest.raises(VerificationFailed, match="32 passes give the same answers"):
        verify(silent, export(silent, EXAMPLE), EXAMPLE)
