"""Verification must find what is wrong with graphs that were tampered with."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from tests.training.networks import Mlp
from training.errors import VerificationFailed
from training.export import Exported, export
from training.verify import verify

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
    checks = verify(module, exported, EXAMPLE)
    assert len({check.name for check in checks}) == len(checks) == 9
    assert all(check.detail for check in checks)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (changed_weight, "same weights: .* differs in 1 numbers"),
        (missing_weight, "same weights: 'extra' is only in sample.onnx"),
        (swapped_masks, "with the same masks: a relative difference of"),
        (unscaled_mask, "with the same masks: a relative difference of"),
        (random_node, "no random operator is left: sample.onnx has RandomNormalLike node 'late'"),
        (noted_path, "no local path or stack trace: sample.onnx has metadata at"),
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
    with pytest.raises(VerificationFailed, match="cannot run at 1 rows"):
        verify(module, replace(exported, predict=predict, sample=sample), EXAMPLE)


class Centred(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0, keepdim=True)


def test_answers_that_depend_on_other_rows_are_found() -> None:
    module = nn.Sequential(Centred(), nn.Dropout(0.5))
    with pytest.raises(VerificationFailed, match="does not depend on the rows beside it: a relative difference"):
        verify(module, export(module, EXAMPLE), EXAMPLE)


def test_dropout_without_effect_on_the_answer_is_found() -> None:
    silent = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.5), nn.Linear(4, 2))
    nn.init.zeros_(silent[2].weight)  # type: ignore[arg-type]
    with pytest.raises(VerificationFailed, match="32 passes all answer the same"):
        verify(silent, export(silent, EXAMPLE), EXAMPLE)
