# mypy: disable-error-code="no-any-return"
"""What a network refuses, the service refuses: numbers that are none of a table's entries, and division by 0."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from onnx.utils import Extractor
from torch import Tensor, nn

from service.errors import InvalidInput
from service.model.manifest import TensorSpec, WholeNumbers
from service.model.runtime import Graph
from tests.training.onnx_files import dynamo_export
from training.errors import VerificationFailed
from training.exporting.export import export
from training.exporting.exported import Exported
from training.exporting.graphs import flattened
from training.exporting.refusals import add_refusals
from training.exporting.verify import verify
from training.importing.network import make_network
from training.importing.source import open_source

Range = tuple[int | None, int | None]
ANY = (None, None)


def ranges_of(spec: TensorSpec) -> list[Range]:
    return [(one.lowest, one.highest) for one in spec.ranges]


# a graph by itself

TABLES = {
    "nine": np.arange(18, dtype=np.float32).reshape(9, 2),
    "five": np.arange(10, dtype=np.float32).reshape(5, 2),
    "first": np.array(0),
    "last": np.array(2),
    "one": np.array(1),
    "two": np.array(2),
    "flat": np.array([-1]),
    "rows": np.array([-1, 3, 2]),
    "axis": np.array([2]),
    "middle": np.array([1]),
    "onoff": np.array([0, 1], dtype=np.float32),
}


@pytest.mark.parametrize(
    ("lookup", "ranges"),
    [
        ("e = Gather (nine, x)", [(0, 8)]),
        ("e = Gather <axis = 1> (nine, x)", [(-2, 1)]),  # not rows of weights: ONNX counts from the end
        ("a = Gather <axis = 1> (x, first) e = Gather (nine, a)", [(0, 8), ANY, ANY]),
        ("a = Gather <axis = 1> (x, last) b = Add (a, two) e = Gather (five, b)", [ANY, ANY, (-2, 2)]),
        ("a = Mul (x, two) b = Sub (one, a) e = Gather (nine, b)", [(-3, 0)]),
        ("a = Cast <to = 6> (x) b = Cast <to = 7> (a) c = Neg (b) e = Gather (nine, c)", [(-8, 0)]),
        ("a = Reshape (x, flat) b = Gather (nine, a) e = Reshape (b, rows)", [(0, 8)]),
        ("a = Slice (x, middle, flat, middle) e = Gather (five, a)", [ANY, (0, 4), ANY]),
        ("e = Gather (nine, x) f = Gather (five, x)", [(0, 4)]),
        ("e = OneHot <axis = -1> (x, two, onoff)", [(0, 1)]),
        ("e = GatherElements <axis = 1> (y, x)", [(-9, 8)]),
        ("a = Unsqueeze (x, axis) e = GatherND <batch_dims = 1> (y, a)", [(-9, 8)]),
        ("a = Mod (x, two) e = Gather (nine, a)", []),
        ("a = Cast <to = 1> (x) b = Add (a, a) c = Cast <to = 7> (b) e = Gather (nine, c)", []),
        ("a = Shape (x) b = Gather (a, one) e = Gather (nine, b)", []),
    ],
)
def test_the_numbers_of_a_lookup_are_followed_back_to_the_inputs(lookup: str, ranges: list[Range]) -> None:
    text = '<ir_version: 8, opset_import: ["": 17]> net (int64[N, 3] x, float[N, 9] y) => (float[N, 3, 2] e)'
    model = onnx.parser.parse_model(f"{text} {{ {lookup} }}")
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in TABLES.items())
    specs = (TensorSpec(name="x", dtype="int64", shape=(3,)), TensorSpec(name="y", dtype="float32", shape=(9,)))
    x, y = add_refusals(flattened(model), specs)
    assert (ranges_of(x), ranges_of(y)) == (ranges, [])


# torch


class Lookups(nn.Module):
    """Each input is the numbers of another kind of lookup."""

    def __init__(self) -> None:
        super().__init__()
        self.nine, self.five, self.table = nn.Embedding(9, 4), nn.Embedding(5, 4), nn.Parameter(torch.randn(9, 4))
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(4, 3)

    def forward(self, real: Tensor, *numbers: Tensor) -> Tensor:
        columns, moved, indexed, gathered, classes, scattered, cut, small = numbers
        found = self.nine(columns[:, 0]) + self.five(columns[:, 1])
        found = found + self.nine(torch.cat([moved + 2, 5 - moved], 1)).mean(1)
        found = found + self.table[indexed[:, 0]] + torch.gather(real, 1, gathered.repeat(1, 2))
        found = found + F.one_hot(classes[:, 0], 4) + real.new_zeros(real.size(0), 4).scatter(1, scattered, 1.0)
        found = found + self.nine(cut.long()).mean(1) + torch.index_select(self.table, 0, small[:, 0])
        return self.head(self.drop(found))


RANGES: dict[str, list[Range]] = {
    "real": [],
    "columns": [(0, 8), (0, 4)],
    "moved": [(-2, 5)],
    "indexed": [(-9, 8), ANY],
    "gathered": [(0, 8)],
    "classes": [(0, 3), ANY],
    "scattered": [(0, 3)],
    "cut": [(0, 8)],
    "small": [(0, 8), ANY],
}


def example(rows: int = 4) -> tuple[Tensor, ...]:
    numbers = [torch.randint(0, 4, (rows, 2)) for _ in range(8)]
    numbers[6], numbers[7] = numbers[6] + 0.5, numbers[7].int()
    return (torch.randn(rows, 9), *numbers)


@pytest.fixture(scope="module")
def looked_up() -> tuple[nn.Module, tuple[Tensor, ...], Exported]:
    torch.manual_seed(0)
    module, rows = Lookups(), example()
    return module, rows, export(module, rows, input_names=tuple(RANGES))


def test_what_torch_takes_is_the_range(looked_up: tuple[nn.Module, tuple[Tensor, ...], Exported]) -> None:
    module, rows, exported = looked_up
    assert {spec.name: ranges_of(spec) for spec in exported.inputs} == RANGES
    check = verify(module, exported, rows).checks[-1]
    assert check == ("what the network refuses, the service refuses", "tried 36 whole numbers")


def test_a_range_that_torch_does_not_agree_with_is_not_verified(
    looked_up: tuple[nn.Module, tuple[Tensor, ...], Exported],
) -> None:
    module, rows, exported = looked_up
    for ranges, reason in (
        (
            (WholeNumbers(lowest=0, highest=7),),
            "8 in 'gathered': the network accepts it, and the service would refuse it",
        ),
        (
            (WholeNumbers(lowest=-9, highest=8),),
            "-9 in 'gathered': the network refuses it, and the service would accept it",
        ),
        ((), "-1 in 'gathered': the network refuses it, and the service would accept it"),
    ):
        inputs = [
            TensorSpec(name=spec.name, dtype=spec.dtype, shape=spec.shape, ranges=ranges)
            if spec.name == "gathered"
            else spec
            for spec in exported.inputs
        ]
        wrong = Exported(**{**vars(exported), "inputs": tuple(inputs)})
        with pytest.raises(VerificationFailed, match=reason):
            verify(module, wrong, rows)


class Computed(nn.Module):
    """Numbers that it computes itself: no range of an input tells which are wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.drop, self.head = nn.Embedding(9, 4), nn.Dropout(0.5), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = x.unbind(1)
        found = self.table(a - b) + F.one_hot(a + b, 4) + ((a // c) + (a % c))[:, None]
        return self.head(self.drop(found))


def test_what_a_network_computes_itself_is_guarded() -> None:
    torch.manual_seed(0)
    module, rows = Computed(), torch.tensor([[1, 0, 2], [2, 1, 1], [3, 0, -2], [0, 0, 1]])
    exported = export(module, (rows,))
    assert exported.inputs[0].ranges == ()
    verified = verify(module, exported, (rows,))
    predict, _ = verified.open()
    for row, reason in (
        ([0, 1, 1], "it looks up an entry of a table by a number below 0"),
        ([5, 0, 1], "idx=5 must be within"),
    ):
        for run in (predict.run, predict.run_all):
            with pytest.raises(InvalidInput, match=reason):
                run({"input": np.array([[1, 0, 2], row])})


@pytest.mark.parametrize("operator", ["Div", "Mod"])
def test_divisors_of_whole_numbers_are_guarded(operator: str) -> None:
    """Nothing is divided here: the graph is cut off behind the guard."""
    module, rows = Computed(), torch.tensor([[1, 0, 2], [2, 1, 1], [3, 0, -2], [0, 0, 1]])
    model = export(module, (rows,)).predict
    divisor = next(node.input[1] for node in model.graph.node if node.op_type == operator)
    cut = Extractor(onnx.shape_inference.infer_shapes(model)).extract_model(["input"], [divisor])
    assert not {"Div", "Mod"} & {node.op_type for node in cut.graph.node}
    guard = Graph(cut.SerializeToString())
    np.testing.assert_array_equal(guard.run({"input": rows.numpy()}), rows[:, 2])
    least = np.iinfo(np.int64).min
    for row in ([1, 1, 0], [least, least, -1]):
        with pytest.raises(InvalidInput, match="it divides a whole number by 0, or the least there is by -1"):
            guard.run({"input": np.array([[1, 0, 2], row])})


# files


@pytest.mark.parametrize(("producer", "lowest"), [("pytorch", 0), ("by hand", -9)])
def test_what_an_older_exporter_of_torch_made_is_strict_too(producer: str, lowest: int) -> None:
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 17], producer_name: "{producer}">'
        " net (int64[N, 3] x, float[N, 9] y) => (float[N, 3] e) { e = GatherElements <axis = 1> (y, x) }"
    )
    specs = (TensorSpec(name="x", dtype="int64", shape=(3,)), TensorSpec(name="y", dtype="float32", shape=(9,)))
    assert ranges_of(add_refusals(flattened(model), specs)[0]) == [(lowest, 8)]


def test_a_file_that_torch_made_is_as_strict_as_torch(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 2))
    file = dynamo_export(module, (torch.randint(0, 9, (4, 3)),), tmp_path / "net.onnx")
    network = make_network(open_source(file), [], classification=True)
    (spec,) = network.graph.inputs
    assert ranges_of(spec) == [(0, 8)]
    assert set(network.example[0].flatten().tolist()) == set(range(9))  # random rows are of the range
    verify(network.original, network.graph.exported(), network.example)
