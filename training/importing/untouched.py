"""The file itself, run by onnxruntime with dropout off: what predict.onnx must agree with.

Of what import does to a file nothing has been done to this one but that its weights are taken in and its functions
written out, so that an error in the rest of it shows.
"""

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, NodeProto
from torch import Tensor

from service.errors import DropserveError
from service.loading.load import Check
from service.model.runtime import Array, Graph
from training.errors import VerificationFailed
from training.exporting.dropout_arithmetic import UNIFORM
from training.exporting.export import Exported
from training.exporting.graphs import NEWEST_IR, describe, real_inputs
from training.exporting.precision import may_disagree
from training.importing.batches import in_batches
from training.importing.evaluation import is_training, switches_off
from training.importing.reading import first_line

NAME = "predict.onnx answers as the untouched file does"


def compare(model: ModelProto, exported: Exported, inputs: Sequence[Tensor], *, rows: int | None) -> Check:
    """Raises VerificationFailed where the answers differ; where the file cannot be run so, the check says why.

    `rows` is the number that the file is fixed at.
    """
    if reason := _incomparable(model):
        return Check(NAME, f"not compared: {reason}")
    try:
        file = Graph(_not_in_training(model).SerializeToString(), name="the file")
    except DropserveError as error:
        return Check(NAME, f"not compared: {first_line(error)}")
    wanted = _answers(file, model, inputs, rows)
    predict = Graph(exported.predict.SerializeToString(), name="predict.onnx")
    feed = {spec.name: tensor.numpy() for spec, tensor in zip(exported.inputs, inputs, strict=True)}
    difference = _difference(wanted, exported.ending.answer(predict.run(feed)))
    if not difference <= (limit := may_disagree(exported.predict)):
        detail = f"a relative difference of {difference:.2e}; {limit:.0e} is allowed"
        raise VerificationFailed(f"{NAME}: {detail}", check=NAME)
    return Check(NAME, f"relative difference at most {difference:.1e} at {len(wanted)} rows")


def _incomparable(model: ModelProto) -> str:
    """Why the file has no answer without dropout that could be asked for."""
    for node in model.graph.node:
        if node.op_type in UNIFORM:
            return f"{describe(node)} is random, and cannot be turned off in the file as it is"
        if _normalises_batches(node):
            return f"{describe(node)} is in training mode"
    return ""


def _normalises_batches(node: NodeProto) -> bool:
    return node.op_type == "BatchNormalization" and is_training(node)


def _not_in_training(model: ModelProto) -> ModelProto:
    """Without the inputs that turn Dropout on; without them it is off, and older ones are anyway."""
    copy = ModelProto()
    copy.CopyFrom(model)
    copy.ir_version = min(copy.ir_version, NEWEST_IR)
    for node in copy.graph.node:
        if node.op_type == "Dropout":
            del node.input[2:]
    return copy


def _answers(file: Graph, model: ModelProto, inputs: Sequence[Tensor], rows: int | None) -> Array:
    off = switches_off(model)
    names = [value.name for value in real_inputs(model.graph) if value.name not in off]
    try:
        batches = [file.run(feed | off)[:count] for feed, count in in_batches(names, inputs, rows)]
    except Exception as error:  # noqa: BLE001 - onnxruntime's own have no other base
        raise VerificationFailed(f"{NAME}: the file cannot be run: {first_line(error)}", check=NAME) from None
    return np.concatenate(batches)


def _difference(wanted: Array, got: Array) -> float:
    if wanted.shape != got.shape:
        raise VerificationFailed(f"{NAME}: the answer has shape {got.shape}, and {wanted.shape} is wanted", check=NAME)
    return float(np.abs(got - wanted).max() / max(1.0, float(np.abs(wanted).max())))
