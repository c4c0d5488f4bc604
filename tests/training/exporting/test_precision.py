"""Numbers of any size, and close together, reach a network as precisely as they come, in training and when served."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from typer.testing import CliRunner, Result

from service.bulk.files import read_rows
from service.engine.engine import Engine
from service.engine.masks import MaskCache
from service.loading.load import load_model
from service.rows.json_rows import decode_inputs
from training.cli import app
from training.config import TrainConfig
from training.data import Choices, Dataset, Part, load_data
from training.data.dataset import as_floats
from training.errors import TrainingError
from training.loop.loss import Loss
from training.loop.scaling import Scaling, constant_features
from training.networks.layers import InTargetsUnit, Standardise, moments

RNG = np.random.default_rng(0)
NOON = 1_700_000_000
PLAIN = RNG.normal(size=(500, 1))


def train(file: Path, target: str, *arguments: str) -> Result:
    fast = ("--epochs", "40", "--passes", "8", "--hidden", "32", "--device", "cpu", "--models", str(file.parent))
    return CliRunner().invoke(app, ["train", "--data", str(file), "--target", target, *fast, *arguments])


def write(file: Path, **columns: NDArray[np.generic] | list[str]) -> Path:
    rows = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    file.write_text("\n".join([",".join(columns), *rows]) + "\n")
    return file


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1.0, 1e20, 1e200])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_statistics_are_right_whatever_the_unit(size: float, kind: type[np.floating]) -> None:
    if kind == np.float32 and not 1e-38 < size < 1e38:
        return
    rows = torch.from_numpy((PLAIN * size).astype(kind))
    mean, spread = moments(rows)
    assert (mean.item() / size, spread.item() / size) == pytest.approx((PLAIN.mean(), PLAIN.std()), rel=1e-6)
    standardised = Standardise(rows)(rows)
    assert standardised.dtype == torch.float32
    np.testing.assert_allclose(standardised, (PLAIN - PLAIN.mean()) / PLAIN.std(), rtol=1e-5, atol=1e-6)


def test_the_largest_numbers_and_opposite_signs_do_not_overflow() -> None:
    rows = torch.tensor([[1.7e308], [-1.7e308]], dtype=torch.float64)
    assert Standardise(rows)(rows).ravel().tolist() == [1.0, -1.0]


def test_numbers_close_together_on_a_large_mean_are_told_apart() -> None:
    rows = torch.tensor([[NOON + 0.001], [NOON + 0.002], [NOON + 0.003]], dtype=torch.float64)
    np.testing.assert_allclose(Standardise(rows)(rows).ravel(), [-(1.5**0.5), 0, 1.5**0.5], atol=1e-3)


@pytest.mark.parametrize("value", [14.62, 1 / 3, 1e20, 5e-324, 0.0])
def test_a_column_that_does_not_vary_is_centred_only(value: float) -> None:
    standardise = Standardise(torch.full((240, 1), value, dtype=torch.float64))
    assert (standardise.mean.item(), standardise.spread.item()) == (value, 1.0)


@pytest.mark.parametrize("value", [14.62, 1 / 3, 1e20])
def test_a_column_that_varies_by_rounding_is_centred_only(value: float) -> None:
    rows = torch.full((240, 1), value, dtype=torch.float64)
    rows[::2] = np.nextafter(value, np.inf)  # as sums in another order give
    assert Standardise(rows).spread.item() == 1.0


def test_channels_of_images_have_their_own_statistics() -> None:
    images = torch.from_numpy(RNG.integers(0, 256, (9, 3, 5, 4)).astype(np.float32))
    images[:, 1] = 7
    found = Standardise(images)(images)
    means, squares = found.mean(dim=(0, 2, 3)), found.square().mean(dim=(0, 2, 3))
    torch.testing.assert_close(means, torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(squares, torch.tensor([1.0, 0.0, 1.0]))


@pytest.mark.parametrize("size", [1e-30, 1e20, 1e37])
def test_targets_of_any_size(size: float) -> None:
    targets = torch.from_numpy((PLAIN * size).astype(np.float32))
    unit = InTargetsUnit(targets)
    standardised = unit.standardised(targets)
    assert standardised.square().mean().item() == pytest.approx(1)
    torch.testing.assert_close(unit(standardised) / size, targets / size)
    fixed = TrainConfig(noise="fixed", tau=1 / size)
    assert Loss(fixed, unit, 500).per_nat == pytest.approx(2 * size / (size * PLAIN.std()) ** 2, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        *((kind, "float32") for kind in ("bool", "uint8", "int16", "float16", "float32")),
        *((kind, "float64") for kind in ("int32", "int64", "uint64", "float64")),
    ],
)
def test_arrays_keep_the_precision_that_they_come_with(kind: str, expected: str) -> None:
    assert as_floats(np.ones(3, dtype=kind)).dtype == expected


def table(tmp_path: Path, **columns: NDArray[np.generic] | list[str]) -> Dataset:
    return load_data(str(write(tmp_path / "t.csv", **columns, label=["yes", "no"] * 100)), Choices("label"))


def scaling(data: Dataset, rows: slice = slice(None)) -> Scaling:
    return Scaling(TrainConfig(), data, Part(data.inputs[rows], data.targets[rows]))


def test_sizes_that_32_bits_cannot_hold_beside_each_other_are_refused(tmp_path: Path) -> None:
    some = RNG.uniform(1e-30, 1e-29, 200)
    some[7] = 1e20
    data = table(tmp_path, a=RNG.normal(size=200), mixed=some)
    with pytest.raises(
        TrainingError, match=r"t\.csv: column 'mixed' holds numbers of so different sizes, from 1.*e-30"
    ):
        scaling(data)


def test_a_number_too_far_from_the_training_rows_is_named(tmp_path: Path) -> None:
    near = np.full(200, 14.62)
    near[199] = 1e300
    data = table(tmp_path, a=RNG.normal(size=200), near=near)
    train_rows, others = slice(0, 199), Part(data.inputs[199:], data.targets[199:])
    with pytest.raises(TrainingError, match=r"t\.csv: column 'near': 1e\+300 is too far from the training rows"):
        scaling(data, train_rows).tensors(others)
    assert list(constant_features(data, Part(data.inputs[train_rows], data.targets[train_rows]))) == [
        "centred only, as they do not vary in the training rows: near"
    ]


def test_whole_numbers_that_float64_merges_are_refused(tmp_path: Path) -> None:
    numbers = 2**60 + RNG.permutation(200)
    with pytest.raises(TrainingError, match="column 'ns' holds whole numbers that 64-bit floating point cannot tell"):
        table(tmp_path, ns=numbers)
    assert table(tmp_path, ns=2**52 + 3 * RNG.permutation(200)).inputs[:, 0].dtype == np.float64


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        (NOON + RNG.uniform(0, 1, 200), r"which 32-bit answers round by up to 1; subtract a constant"),
        (RNG.uniform(1e-46, 1e-44, 200), "which 32-bit answers round by up to"),
        (RNG.normal(size=200) * 1e39, "which 32-bit answers cannot hold; use another unit"),
    ],
)
def test_targets_that_an_answer_cannot_express_are_refused(
    tmp_path: Path, targets: NDArray[np.float64], reason: str
) -> None:
    file = write(tmp_path / "t.csv", a=RNG.normal(size=200), y=targets)
    with pytest.raises(TrainingError, match=rf"t\.csv: target 'y' holds .*{reason}"):
        load_data(str(file), Choices("y"))


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Whether a time lies in the second half of its second, beside columns that are huge, tiny and nearly constant."""
    times = NOON + RNG.uniform(0.001, 0.999, 400)
    near = np.full(400, 14.62)
    file = write(
        tmp_path_factory.mktemp("late") / "late.csv",
        time=[f"{time:.3f}" for time in times],
        huge=RNG.normal(size=400) * 1e20,
        tiny=RNG.normal(size=400) * 1e-30,
        near=near,
        label=np.where(times % 1 > 0.5, "late", "early"),
    )
    file.write_text(file.read_text().replace(",14.62,", ",15.0,", 1))
    result = train(file, "label")
    assert result.exit_code == 0, result.output
    assert "time    number    numbers from 1700000000.00" in result.output
    return load_model(file.parent / "late" / "1", MaskCache(2**20))


def test_milliseconds_since_1970_decide(late: Engine) -> None:
    assert late.manifest.inputs[0].dtype == "float64"
    assert late.manifest.evaluation["deterministic"]["accuracy"] > 0.9
    assert late.manifest.seen[0].lowest > NOON


@pytest.mark.parametrize("millisecond", [100, 300, 700, 900])
def test_a_row_keeps_its_milliseconds_whatever_it_is_sent_as(late: Engine, millisecond: int) -> None:
    manifest = late.manifest
    row = [NOON + millisecond / 1000, 1e19, -1e-30, 14.62]
    by_json = decode_inputs(msgspec.Raw(msgspec.json.encode([row])), manifest, 9)["input"]
    by_csv = read_rows(",".join(map(str, row)).encode(), "csv", manifest)["input"]
    assert by_json.tolist() == by_csv.tolist() == [row]
    probability = late.predict({"input": by_json}).values[0, manifest.labels.index("late")]
    assert (probability > 0.5) == (millisecond > 500)


def test_a_small_step_of_a_column_that_hardly_varies_changes_little(late: Engine) -> None:
    rows = np.array([[NOON + 0.5, 0, 0, near] for near in (14.62, 14.63, 14.0)])
    probabilities = late.predict({"input": rows}).values[:, 0]
    assert abs(probabilities[1] - probabilities[0]) < 0.1


def test_a_module_of_ones_own_gets_standardised_rows(tmp_path: Path) -> None:
    data = table(tmp_path, a=RNG.normal(size=200) * 1e20)
    made = scaling(data)
    rows, _ = made.tensors(Part(data.inputs, data.targets))
    whole = made.around(nn.Sequential(nn.Identity(), nn.Dropout(0.5))).eval()
    torch.testing.assert_close(whole(torch.from_numpy(data.inputs)), rows)
