"""Large weights leave the graphs once, for a file that goes with them until they are published."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from service.loading.load import load_model
from service.model.manifest import PREDICT_GRAPH, SAMPLE_GRAPH, WEIGHTS, sha256
from service.model.runtime import Graph
from training import publish_module
from training.errors import CannotExport
from training.exporting.export import export
from training.exporting.reference import TorchReference
from training.exporting.surgery import to_predict
from training.exporting.verify import verify
from training.exporting.weights import ALIGNMENT, SMALLEST, Weights, place_of

EXAMPLE = torch.linspace(-2, 2, 4 * 32).reshape(4, 32)


class Tied(nn.Module):
    """Two layers with one weight, of which the first is before any dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(32, 32)
        self.second = nn.Linear(32, 32)
        self.second.weight = self.first.weight
        self.last = nn.Linear(32, 3)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.last(self.drop(torch.relu(self.second(self.drop(torch.relu(self.first(x)))))))
        return made


def model(**weights: np.ndarray) -> ModelProto:
    total = [helper.make_node("Sum", list(weights), ["y"])]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(total, "g", [], [output], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def stored(weights: Weights, tensor: TensorProto) -> bytes:
    place = place_of(tensor)
    assert weights.folder
    assert place
    offset, length = place
    return (weights.folder / WEIGHTS).read_bytes()[offset : offset + length]


def test_large_weights_move_and_small_ones_stay() -> None:
    large = np.arange(SMALLEST // 4, dtype=np.float32)
    made, weights = model(large=large, small=large[:-1]), Weights()
    weights.take_from(made)
    moved, stayed = made.graph.initializer
    assert stored(weights, moved) == large.tobytes()
    assert list(moved.dims) == [len(large)]
    assert not moved.raw_data
    np.testing.assert_array_equal(numpy_helper.to_array(stayed), large[:-1])


def test_numbers_that_shapes_and_indices_need_stay() -> None:
    places = np.arange(SMALLEST, dtype=np.int64)
    made, weights = model(places=places), Weights()
    weights.take_from(made)
    np.testing.assert_array_equal(numpy_helper.to_array(made.graph.initializer[0]), places)
    assert weights.folder is None


def test_equal_weights_are_stored_once_and_aligned() -> None:
    one = np.ones(SMALLEST // 4 + 1, np.float32)
    made, weights = model(one=one, other=2 * one, same=one.copy()), Weights()
    again = model(again=one)
    for each in (made, again):
        weights.take_from(each)
    places = [place_of(tensor) for tensor in (*made.graph.initializer, *again.graph.initializer)]
    assert places[0] == places[2] == places[3] != places[1]
    assert all(place and place[0] % ALIGNMENT == 0 for place in places)
    assert weights.folder
    content = (weights.folder / WEIGHTS).read_bytes()
    assert len(content) < 3 * one.nbytes
    assert weights.sha256 == sha256(content)


def test_typed_fields_are_stored_as_bytes() -> None:
    numbers = [0.5 * number for number in range(SMALLEST)]
    made, weights = model(), Weights()
    made.graph.initializer.append(helper.make_tensor("typed", TensorProto.FLOAT, [SMALLEST], numbers))
    weights.take_from(made)
    assert stored(weights, made.graph.initializer[0]) == np.array(numbers, np.float32).tobytes()


def test_the_file_goes_with_its_object() -> None:
    weights = Weights()
    weights.take_from(model(large=np.zeros(SMALLEST, np.float32)))
    folder = weights.folder
    assert folder
    assert folder.exists()
    del weights
    assert not folder.exists()


def test_a_published_model_has_each_weight_once(tmp_path: Path) -> None:
    torch.manual_seed(2)
    module = Tied()
    folder, manifest = publish_module(module, EXAMPLE, name="tied", models=tmp_path, labels="abc")
    assert manifest.files[WEIGHTS] == sha256((folder / WEIGHTS).read_bytes())
    assert (folder / WEIGHTS).stat().st_size == 4 * 32 * 32
    for name in (PREDICT_GRAPH, SAMPLE_GRAPH):
        assert (folder / name).stat().st_size < 8192
    with torch.no_grad():
        wanted = torch.softmax(module.eval()(EXAMPLE) / manifest.temperature, dim=1).numpy()
    np.testing.assert_allclose(load_model(folder).predict({"input": EXAMPLE.numpy()}).values, wanted, atol=1e-5)


def test_verified_graphs_are_those_of_small_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether weights are in the graph or beside it changes no bit."""
    torch.manual_seed(2)
    module, feed = Tied(), {"input": EXAMPLE.numpy()}
    apart = export(module, (EXAMPLE,))
    verify(module, apart, (EXAMPLE,))
    monkeypatch.setattr("training.exporting.weights.SMALLEST", 2**30)
    within = export(module, (EXAMPLE,))
    assert apart.weights.folder
    assert within.weights.folder is None
    np.testing.assert_array_equal(
        Graph(apart.predict.SerializeToString(), weights=apart.weights.folder).run(feed),
        Graph(within.predict.SerializeToString()).run(feed),
    )


def test_a_graph_is_checked_without_its_file() -> None:
    """The surgery goes on with graphs whose weights have left."""
    torch.manual_seed(2)
    exported = export(Tied(), (EXAMPLE,))
    assert to_predict(exported.predict).SerializeToString() == exported.predict.SerializeToString()


def test_the_copies_of_verification_share_weights_but_not_those_of_the_module() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)).train()
    reference = TorchReference(module)
    pairs = zip(reference.sampling.parameters(), reference.evaluation.parameters(), module.parameters(), strict=True)
    assert all(one is other and one.data_ptr() != own.data_ptr() for one, other, own in pairs)
    assert module.get_submodule("1").training


def test_a_forward_pass_that_changes_weights_leaves_the_module_alone(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Embedding(10, 8, max_norm=0.5), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 2))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    publish_module(module, torch.arange(10).reshape(5, 2), name="net", models=tmp_path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_weights_of_four_bits_stay() -> None:
    made, weights = model(), Weights()
    made.graph.initializer.append(helper.make_tensor("four", TensorProto.INT4, [2 * SMALLEST], [1] * 2 * SMALLEST))
    before = made.SerializeToString()
    weights.take_from(made)
    assert made.SerializeToString() == before


def test_a_forked_process_does_not_delete_the_file() -> None:
    weights = Weights()
    weights.take_from(model(large=np.zeros(SMALLEST, np.float32)))
    child = os.fork()
    if not child:
        del weights
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert weights.folder
    assert (weights.folder / WEIGHTS).exists()


def test_no_room_for_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(CannotExport, match="weights: cannot be written to a temporary folder; set TMPDIR: No such"):
        publish_module(Tied(), EXAMPLE, name="net", models=tmp_path)
