"""A model folder is loaded when everything about it is right, and refused with the reason when one thing is not."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from service.engine.engine import Engine
from service.engine.masks import MaskCache
from service.errors import InvalidInput, InvalidModel
from service.loading import golden
from service.loading.load import Check, load_model
from service.model.manifest import GOLDEN, MANIFEST, PREDICT_GRAPH, REQUIRED_FILES, SAMPLE_GRAPH, sha256
from service.model.runtime import Array, Graph
from service.repository.repository import Repository
from tests.service.archives import deflate_damaged, npy
from tests.service.loading.test_golden import changed
from tests.toy import HIDDEN, Floats, ToyNet, serialised

FILES = [MANIFEST, *REQUIRED_FILES]


@pytest.fixture
def folder(toy: ToyNet, tmp_path: Path) -> Path:
    return toy.publish(tmp_path)


def load(folder: Path) -> Engine:
    return load_model(folder, MaskCache(2**20))


def replace(folder: Path, name: str, content: bytes) -> None:
    """Put other content in the place of a file, with a digest that agrees: only the contract can tell."""
    (folder / name).write_bytes(content)
    said = json.loads((folder / MANIFEST).read_text())
    said["files"][name] = sha256(content)
    (folder / MANIFEST).write_text(json.dumps(said))


def test_a_published_model_is_loaded(toy: ToyNet, folder: Path) -> None:
    checks: list[Check] = []
    engine = load_model(folder, MaskCache(0), checks=checks)
    assert [check.name for check in checks] == ["manifest", "digests", "graphs", "golden answers"]
    assert all(check.detail for check in checks)
    rows = {"input": toy.rows(3)}
    np.testing.assert_allclose(engine.predict(rows).values, toy.engine().predict(rows).values, atol=1e-6)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InvalidModel, match=name) as refusal:
        load(folder)
    assert refusal.value.details["file"] == name


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(InvalidModel, match=name):
        load(folder)


@pytest.mark.parametrize("name", REQUIRED_FILES)
@pytest.mark.parametrize("place", [0.0, 0.3, 0.7, 0.999])
def test_a_flipped_bit(folder: Path, name: str, place: float) -> None:
    content = bytearray((folder / name).read_bytes())
    content[int(place * len(content))] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(InvalidModel, match=f"{name}: is damaged"):
        load(folder)


@pytest.mark.parametrize("name", [PREDICT_GRAPH, SAMPLE_GRAPH])
def test_what_is_no_graph(folder: Path, name: str) -> None:
    replace(folder, name, b"not a graph")
    with pytest.raises(InvalidModel, match=f"{name}: is not an ONNX file"):
        load(folder)


def test_a_sample_graph_without_its_mask(toy: ToyNet, folder: Path) -> None:
    replace(folder, SAMPLE_GRAPH, toy.graph(masked=False))
    with pytest.raises(InvalidModel, match=r"sample\.onnx: has inputs .*: mask_0 is not in both"):
        load(folder)


def test_a_predict_graph_with_a_mask(toy: ToyNet, folder: Path) -> None:
    replace(folder, PREDICT_GRAPH, toy.graph(masked=True))
    with pytest.raises(InvalidModel, match=r"predict\.onnx: has inputs .*: mask_0 is not in both"):
        load(folder)


def test_graphs_of_another_width(folder: Path) -> None:
    replace(folder, PREDICT_GRAPH, ToyNet(features=9).graph(masked=False))
    with pytest.raises(
        InvalidModel, match=r"predict\.onnx: input is float32 \['rows', 9\]; expected float32 \[any, 4\]"
    ):
        load(folder)


def test_a_mask_of_another_width(folder: Path) -> None:
    replace(folder, SAMPLE_GRAPH, ToyNet(hidden=HIDDEN + 1).graph(masked=True))
    with pytest.raises(InvalidModel, match=rf"mask_0 is .* {HIDDEN + 1}\]; expected float32 \[any, 1, {HIDDEN}\]"):
        load(folder)


@pytest.mark.parametrize(("name", "free"), [(PREDICT_GRAPH, "any"), (SAMPLE_GRAPH, "any, any")])
def test_an_output_of_another_width(folder: Path, name: str, free: str) -> None:
    replace(folder, name, ToyNet(outputs=5).graph(masked=name == SAMPLE_GRAPH))
    with pytest.raises(InvalidModel, match=rf"{name}: output is float32 .*, 5\]; expected float32 \[{free}, 3\]"):
        load(folder)


def graph(rows: Any, *, outputs: int = 1, dtype: int = TensorProto.FLOAT) -> bytes:
    """A graph that answers the first three values of each row."""
    names = [f"output{i}" for i in range(outputs)]
    nodes = [helper.make_node("Gather", ["input", "three"], [name], axis=1) for name in names]
    three = helper.make_tensor("three", TensorProto.INT64, [3], [0, 1, 2])
    given = [helper.make_tensor_value_info("input", dtype, [rows, 4])]
    answers = [helper.make_tensor_value_info(name, dtype, [rows, 3]) for name in names]
    made = helper.make_graph(nodes, "odd", given, answers, [three])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (graph(1), r"input is float32 \[1, 4\]; expected float32 \[any, 4\]"),
        (graph("rows", outputs=2), r"sample\.onnx does not read its output 'output1'"),
        (graph("rows", dtype=TensorProto.DOUBLE), "input is float64 .*; expected float32"),
    ],
)
def test_a_graph_that_breaks_the_contract(folder: Path, content: bytes, reason: str) -> None:
    replace(folder, PREDICT_GRAPH, content)
    with pytest.raises(InvalidModel, match=reason) as refusal:
        load(folder)
    assert refusal.value.details == {"file": PREDICT_GRAPH}


def test_a_graph_of_other_weights(folder: Path) -> None:
    replace(folder, PREDICT_GRAPH, ToyNet(seed=9).graph(masked=False))
    with pytest.raises(InvalidModel, match=r"golden\.npz: predict: the model's answers differ"):
        load(folder)


def test_golden_answers_of_another_model(folder: Path) -> None:
    other = ToyNet(features=9)
    replace(folder, GOLDEN, golden.record(other.engine(), {"input": other.rows(5)}, passes=6, seed=3))
    with pytest.raises(InvalidModel, match=r"golden\.npz: does not fit the model: .*expected 4 values, found 9"):
        load(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"predict": np.full((5, 3), "a")},
        {"seed": np.int64(-1)},
        {"sample": np.zeros((0, 5, 3), np.float32)},
    ],
)
def test_odd_golden_answers_are_an_invalid_model(toy: ToyNet, tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = toy.publish(tmp_path)
    replace(folder, GOLDEN, changed((folder / GOLDEN).read_bytes(), **changes))
    with pytest.raises(InvalidModel):
        load_model(folder, MaskCache(0))


@pytest.mark.parametrize("content", [npy(np.ones((5, 4))), deflate_damaged()])
def test_odd_golden_files_are_an_invalid_model(toy: ToyNet, tmp_path: Path, content: bytes) -> None:
    folder = toy.publish(tmp_path)
    replace(folder, GOLDEN, content)
    with pytest.raises(InvalidModel):
        load_model(folder, MaskCache(0))


def failing_graph() -> bytes:
    """Loads, has the right inputs and outputs, and cannot be run."""
    nodes = [
        helper.make_node("Reshape", ["input", "shape"], ["five"]),
        helper.make_node("Gather", ["five", "three"], ["output"], axis=1),
    ]
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 7])
    three = helper.make_tensor("three", TensorProto.INT64, [3], [0, 1, 2])
    given = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["rows", 4])]
    answer = [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["rows", 3])]
    return serialised(helper.make_graph(nodes, "failing", given, answer, [shape, three]))


def test_a_graph_that_cannot_run_is_an_invalid_model(toy: ToyNet, tmp_path: Path) -> None:
    folder = toy.publish(tmp_path)
    replace(folder, PREDICT_GRAPH, failing_graph())
    repository = Repository(tmp_path, MaskCache(0))
    repository.refresh()
    reason = repository.catalogue.failures["toy/1"]
    expected = "golden.npz: does not fit the model: inputs[0]: the network does not accept these values: "
    assert reason.startswith(expected)


class LogNet(ToyNet):
    """Takes logarithms, of which 0 has none."""

    def graph(self, *, masked: bool) -> bytes:
        model = onnx.load_model_from_string(super().graph(masked=masked))
        model.graph.node[0].input[0] = "log"
        model.graph.node.insert(0, helper.make_node("Log", ["input"], ["log"]))
        return bytes(model.SerializeToString())

    def rows(self, count: int, seed: int = 1) -> Floats:
        return np.exp(super().rows(count, seed))


def test_loading_runs_only_the_golden_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Array] = []
    run = Graph.run

    def noting(graph: Graph, feeds: Mapping[str, Array]) -> Array:
        asked.append(feeds["input"])
        return run(graph, feeds)

    net = LogNet()
    folder = net.publish(tmp_path)
    monkeypatch.setattr(Graph, "run", noting)
    engine = load(folder)
    assert {tuple(row) for rows in asked for row in rows} == {tuple(row) for row in net.rows(5)}
    assert engine.learned.row_cost.seconds(1) > 0
    with pytest.raises(InvalidInput, match="not a finite number"):
        engine.predict({"input": np.zeros((1, 4), np.float32)})
