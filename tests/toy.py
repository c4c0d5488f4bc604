"""A toy model made without torch, whose answers are arithmetic.

    h = relu(W₀ x + b₀);  answer = W₁ (mask · h) + b₁

Published by the service's own contracts, so that the tests of the service need no training.
"""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from service.engine.engine import Engine
from service.engine.masks import MaskCache
from service.engine.network import Network
from service.loading import golden
from service.loading.warmup import warm_up
from service.model.manifest import (
    GOLDEN,
    PREDICT_GRAPH,
    SAMPLE_GRAPH,
    DropoutSite,
    Manifest,
    TensorSpec,
    sha256,
    write_manifest,
)
from service.model.runtime import Graph

Floats = NDArray[np.float32]

FEATURES, HIDDEN, CLASSES = 4, 32, 3
P = 0.5


class ToyNet:
    """The weights, and the arithmetic in numpy to compare with."""

    def __init__(self, seed: int = 0, features: int = FEATURES, hidden: int = HIDDEN, outputs: int = CLASSES) -> None:
        rng = np.random.default_rng(seed)
        self.features, self.hidden, self.outputs = features, hidden, outputs
        self.w0 = rng.normal(size=(features, hidden)).astype(np.float32)
        self.b0 = rng.normal(size=hidden).astype(np.float32)
        self.w1 = (rng.normal(size=(hidden, outputs)) / np.sqrt(hidden)).astype(np.float32)
        self.b1 = rng.normal(size=outputs).astype(np.float32)

    def predict(self, rows: Floats) -> Floats:
        """(rows, features) → (rows, outputs)."""
        return np.asarray(np.maximum(rows @ self.w0 + self.b0, 0) @ self.w1 + self.b1)

    def sample(self, rows: Floats, masks: Floats) -> Floats:
        """(rows, features) and masks (passes, 1, hidden) → (passes, rows, outputs)."""
        return np.asarray((np.maximum(rows @ self.w0 + self.b0, 0)[None] * masks) @ self.w1 + self.b1)

    def graph(self, *, masked: bool) -> bytes:
        """predict.onnx or sample.onnx."""
        rows: list[str | int | None] = ["rows", self.features]
        outputs: list[str | int | None] = ["rows", self.outputs]
        inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, rows)]
        nodes = [
            helper.make_node("MatMul", ["input", "w0"], ["m0"]),
            helper.make_node("Add", ["m0", "b0"], ["a0"]),
            helper.make_node("Relu", ["a0"], ["h"]),
        ]
        kept = "h"
        if masked:
            shape: list[str | int | None] = ["passes", 1, self.hidden]
            inputs.append(helper.make_tensor_value_info("mask_0", TensorProto.FLOAT, shape))
            nodes.append(helper.make_node("Mul", ["h", "mask_0"], ["kept"]))
            kept, outputs = "kept", ["passes", *outputs]
        nodes += [
            helper.make_node("MatMul", [kept, "w1"], ["m1"]),
            helper.make_node("Add", ["m1", "b1"], ["output"]),
        ]
        weights = [numpy_helper.from_array(getattr(self, name), name) for name in ("w0", "b0", "w1", "b1")]
        output = helper.make_tensor_value_info("output", TensorProto.FLOAT, outputs)
        graph = helper.make_graph(nodes, "toy", inputs, [output], weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())

    def manifest(self, **changes: object) -> Manifest:
        """What the toy says of itself; the features have names unless other inputs are given."""
        says: dict[str, object] = {
            "name": "toy",
            "version": 1,
            "task": "classification",
            "inputs": (TensorSpec(name="input", dtype="float32", shape=(self.features,)),),
            "output": TensorSpec(name="output", dtype="float32", shape=(self.outputs,)),
            "features": () if "inputs" in changes else tuple(f"x{i}" for i in range(self.features)),
            "labels": tuple("abcdefghij"[: self.outputs]),
            "sites": (DropoutSite(name="hidden", kind="dropout", p=P, shape=(self.hidden,)),),
            "temperature": 1.5,
            "files": dict.fromkeys((PREDICT_GRAPH, SAMPLE_GRAPH, GOLDEN), "0" * 64),
        }
        return Manifest.model_validate(says | changes)

    def engine(self, **changes: object) -> Engine:
        """Ready to answer."""
        return Engine(
            self.manifest(**changes),
            Network(Graph(self.graph(masked=False)), Graph(self.graph(masked=True))),
            MaskCache(2**20),
        )

    def rows(self, count: int, seed: int = 1) -> Floats:
        """Some rows to ask."""
        return np.random.default_rng(seed).normal(size=(count, self.features)).astype(np.float32)

    def publish(self, models: Path, **changes: object) -> Path:
        """Write `<name>/<version>/` below a folder of models."""
        engine = self.engine(**changes)
        manifest = engine.manifest
        folder = models / manifest.name / str(manifest.version)
        folder.mkdir(parents=True)
        files = {
            PREDICT_GRAPH: self.graph(masked=False),
            SAMPLE_GRAPH: self.graph(masked=True),
            GOLDEN: golden.record(engine, {"input": self.rows(5)}, passes=6, seed=3),
        }
        for name, content in files.items():
            (folder / name).write_bytes(content)
        digests = {name: sha256(content) for name, content in files.items()}
        write_manifest(manifest.model_copy(update={"files": digests}), folder)
        return folder


class SharingNet(ToyNet):
    """The toy whose predict.onnx returns the hidden layer, which sample.onnx takes."""

    def graph(self, *, masked: bool) -> bytes:
        model = onnx.load_model_from_string(super().graph(masked=masked))
        graph = model.graph
        hidden = helper.make_tensor_value_info("h", TensorProto.FLOAT, ["rows", self.hidden])
        if masked:
            del graph.node[:3], graph.input[0], graph.initializer[:2]
            graph.input.insert(0, hidden)
        else:
            graph.output.append(hidden)
        return bytes(model.SerializeToString())


class LookupNet(ToyNet):
    """Adds 0 from a table of nine, at the place that a row's first number says; there is no answer from 9 on."""

    def graph(self, *, masked: bool) -> bytes:
        model = onnx.load_model_from_string(super().graph(masked=masked))
        graph = model.graph
        graph.node[-1].output[0] = "sum"
        constants = {"zeros": np.zeros((9, self.outputs), np.float32), "first": np.array(0)}
        graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
        graph.node.extend(
            [
                helper.make_node("Gather", ["input", "first"], ["x0"], axis=1),  # (rows,)
                helper.make_node("Cast", ["x0"], ["entry"], to=TensorProto.INT64),
                helper.make_node("Gather", ["zeros", "entry"], ["found"]),  # (rows, outputs)
                helper.make_node("Add", ["sum", "found"], ["output"]),
            ]
        )
        return bytes(model.SerializeToString())


def warmed(engine: Engine, rows: Floats) -> Engine:
    """Return the engine, warmed up with these rows (rows, …) as its examples."""
    engine.examples = {"input": rows}
    engine.learned = warm_up(engine)
    return engine


def serialised(graph: onnx.GraphProto) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())
