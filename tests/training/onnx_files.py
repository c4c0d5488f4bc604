"""ONNX files as other people's exporters write them."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn

from service.model.runtime import Array

RNG = np.random.default_rng(3)


def script_export(
    module: nn.Module,
    example: tuple[Tensor, ...],
    file: Path,
    *,
    opset: int = 17,
    names: tuple[str, ...] = ("input",),
    free: bool = True,
    keep_statistics: bool = False,
) -> Path:
    """By torch's older exporter, for training, as its documentation says; or as docs/import.md does."""
    axes = {name: {0: "batch"} for name in (*names, "output")} if free else None
    mode = torch.onnx.TrainingMode.PRESERVE if keep_statistics else torch.onnx.TrainingMode.TRAINING
    for part in module.train().modules():
        part.training = not (keep_statistics and isinstance(part, nn.modules.batchnorm._NormBase))
    with _quiet():
        torch.onnx.export(
            module,
            example,
            file,
            dynamo=False,
            training=mode,
            do_constant_folding=False,
            opset_version=opset,
            input_names=list(names),
            output_names=["output"],
            dynamic_axes=axes,
        )
    return file


def dynamo_export(
    module: nn.Module,
    example: tuple[Tensor, ...],
    file: Path,
    *,
    names: tuple[str, ...] = ("input",),
    training: bool = True,
) -> Path:
    """By torch's newer exporter, which takes the mode that the module is in."""
    with _quiet():
        torch.onnx.export(
            module.train(training),
            example,
            file,
            dynamo=True,
            input_names=list(names),
            output_names=["output"],
            dynamic_shapes=tuple({0: torch.export.Dim.DYNAMIC} for _ in example),
            verbose=False,
        )
    return file


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


WEIGHTS = {
    "w": RNG.normal(size=(3, 8)).astype(np.float32),
    "v": RNG.normal(size=(8, 2)).astype(np.float32),
}


def two_layers(
    dropout: str = "d = Dropout (h)",
    *,
    opset: int = 17,
    rows: str = "N",
    more_inputs: str = "",
    end: str = "y = MatMul (d, v)",
    output: str = "y",
    weights: dict[str, Array] = WEIGHTS,
    **constants: Array,
) -> ModelProto:
    """x (rows, 3) → relu(x·w) → `dropout` → `end` (rows, 2)."""
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": {opset}], producer_name: "by hand">'
        f" net (float[{rows}, 3] x{more_inputs}) => (float[{rows}, 2] {output})"
        f" {{ p = MatMul (x, w) h = Relu (p) {dropout} {end} }}"
    )
    for name, array in (weights | constants).items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return model


def saved(model: ModelProto, file: Path) -> Path:
    file.write_bytes(model.SerializeToString())
    return file


def by_arithmetic(x: Array, *factors: Array, logits: bool = True) -> Array:
    """What `two_layers` answers, dropout being a multiplication by `factors` (rows, 8) or (8,)."""
    hidden = np.maximum(x @ WEIGHTS["w"], 0)
    for factor in factors:
        hidden = hidden * factor
    answers = hidden @ WEIGHTS["v"]
    if logits:
        return np.asarray(answers)
    shares = np.exp(answers - answers.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def node(model: ModelProto, operator: str) -> onnx.NodeProto:
    return next(each for each in model.graph.node if each.op_type == operator)


def constant(value: float, dtype: type = np.float32) -> Array:
    return np.array(value, dtype=dtype)
