"""Missing values that are imputed: learned from, and accepted in every format, as one stated value of their feature."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from pyarrow import parquet
from typer.testing import CliRunner

from service.engine.engine import Engine
from service.engine.masks import MaskCache
from service.errors import InvalidInput
from service.loading.load import load_model
from service.model.manifest import Manifest
from service.rows.fitting import fit_table
from service.rows.formats import RowsFile
from service.rows.inputs import check_inputs
from service.rows.json_rows import decode_inputs
from tests.service.processes import service
from training.cli import app
from training.config import TrainConfig
from training.data import Choices, Dataset, load_data, split_data
from training.errors import TrainingError
from training.loop.scaling import Scaling
from training.networks.layers import Impute

RNG = np.random.default_rng(0)
TOWNS = np.array(["Bonn", "Köln", "Trier"])
FEATURES = 3


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ages, towns and counts, each missing in a tenth of the rows; ages decide."""
    rows = 300
    age, town, count = RNG.normal(40, 9, rows), RNG.choice(TOWNS, rows, p=[0.2, 0.6, 0.2]), RNG.integers(0, 9, rows)
    said = np.array([[f"{age[i]:.3f}", town[i], str(count[i])] for i in range(rows)], dtype=object)
    said[RNG.random(said.shape) < 0.1] = ""
    said[said[:, 2] == "", 2] = "NA"  # of a number, as R writes it
    lines = [",".join([*row, "old" if years > 40 else "young"]) for row, years in zip(said, age, strict=True)]
    path = tmp_path_factory.mktemp("missing") / "people.csv"
    path.write_text("\n".join(["age,town,count,label", *lines]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def data(file: Path) -> Dataset:
    return load_data(str(file), Choices("label", missing="median"))


@pytest.fixture(scope="module")
def models(file: Path) -> Path:
    """With the model `people`, and `complete`, which may miss nothing."""
    fast = ["--target", "label", "--epochs", "20", "--passes", "8", "--hidden", "16", "--device", "cpu"]
    for missing, name in (("median", "people"), ("drop", "complete")):
        said = ["--data", str(file), "--missing", missing, "--name", name, "--models", str(file.parent / "models")]
        result = CliRunner().invoke(app, ["train", *said, *fast])
        assert result.exit_code == 0, result.output
    return file.parent / "models"


@pytest.fixture(scope="module")
def engine(models: Path) -> Engine:
    return load_model(models / "people" / "1", MaskCache(2**20))


@pytest.fixture(scope="module")
def client(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with service(tmp_path_factory.mktemp("service"), "--models", str(models)) as running:
        yield running.client


def usual(data: Dataset) -> NDArray[np.float64]:
    """The medians, and the most frequent category, of the rows that are trained on."""
    rows = split_data(data, 0.1, 0.2, 0.2, 0).train.inputs
    counts = [(rows[:, 1] == number).sum() for number in range(len(TOWNS))]
    return np.array([np.nanmedian(rows[:, 0]), np.argmax(counts), np.nanmedian(rows[:, 2])])


def test_missing_values_are_kept_and_told(data: Dataset) -> None:
    assert np.isnan(data.inputs).any(axis=0).tolist() == [True] * FEATURES
    assert len(data.targets) == 300
    assert [column.seen.partition("; ")[2] for column in data.columns[:FEATURES]] == [
        f"missing in {count} of 300 rows" for count in np.isnan(data.inputs).sum(axis=0)
    ]
    assert data.categories == {"town": tuple(TOWNS)}


def test_the_rule_is_that_of_the_training_rows_and_stated(engine: Engine, data: Dataset, models: Path) -> None:
    assert engine.manifest.inputs[0].imputation == tuple(usual(data))
    assert engine.manifest.evaluation["deterministic"]["accuracy"] > 0.8
    card = (models / "people" / "1" / "MODEL_CARD.md").read_text()
    assert f"| age | {usual(data)[0]:.10g} |\n| town | Köln |\n" in card
    assert "may be missing" not in (models / "complete" / "1" / "MODEL_CARD.md").read_text()


def rows_of(manifest: Manifest, folder: Path) -> Iterator[NDArray[np.float64]]:
    """A row whose age and town are missing, and one whose count is, in every format."""
    said: list[list[float | str | None]] = [[None, None, 4], [51.5, "Bonn", None]]
    yield decode_inputs(msgspec.Raw(msgspec.json.encode(said)), manifest, 9)["input"]
    for name, content in {
        "rows.csv": "age,town,count\n,,4\n51.5,Bonn,NA\n",
        "decimal.csv": "count;town;age\n4;;\n;Bonn;51,5\n",
        "rows.jsonl": '{"count": 4, "age": null}\n{"age": 51.5, "town": "Bonn", "count": null}\n',
    }.items():
        (folder / name).write_text(content)
        yield fit_table(RowsFile.of_path(folder / name).table(), manifest)["input"]
    columns = {name: [row[place] for row in said] for place, name in enumerate(manifest.features)}
    parquet.write_table(pa.table(columns), folder / "rows.parquet")
    yield fit_table(RowsFile.of_path(folder / "rows.parquet").table(), manifest)["input"]
    yield np.array([[np.nan, np.nan, 4], [51.5, 0, np.nan]])


def test_every_format_gives_the_answer_of_the_usual_value(engine: Engine, data: Dataset, tmp_path: Path) -> None:
    filled = usual(data)
    expected = engine.predict({"input": np.array([[filled[0], filled[1], 4], [51.5, 0, filled[2]]])}).values
    for rows in rows_of(engine.manifest, tmp_path):
        checked = check_inputs({"input": rows}, engine.manifest, 9)
        np.testing.assert_array_equal(engine.predict(checked).values, expected)
    draws = engine.manifest.categorical
    assert draws is not None
    assert draws.to_names(np.array([[np.nan, np.nan, 4.0]]))[0][1] is None


def test_an_infinity_and_an_unknown_name_are_refused_still(engine: Engine) -> None:
    for row, message in (
        ([np.inf, 0, 1], r"inputs\[0\]\[0\]: expected a finite number that fits float64, found inf"),
        ([40, 7, 1], r"inputs\[0\]\[1\]: town: expected one of"),
    ):
        with pytest.raises(InvalidInput, match=message):
            check_inputs({"input": np.array([row])}, engine.manifest, 9)


def test_where_there_is_no_rule_a_missing_value_is_refused_by_name(models: Path, tmp_path: Path) -> None:
    manifest = load_model(models / "complete" / "1", MaskCache(2**20)).manifest
    assert manifest.inputs[0].imputation == ()
    for said, message in (
        ("[[null, 1, 2]]", r"inputs\[0\]\[0\]: age: expected a number, found null"),
        ('[[1, "Bonn", 2], [1, null, 2]]', r'inputs\[1\]\[1\]: town: expected one of "Bonn", "Köln", "Trier", .*null'),
    ):
        with pytest.raises(InvalidInput, match=message):
            decode_inputs(msgspec.Raw(said.encode()), manifest, 9)
    parquet.write_table(pa.table({"age": [1.0, 2.0], "town": [None, "Bonn"], "count": [1, 2]}), tmp_path / "r.parquet")
    with pytest.raises(InvalidInput, match="row 0: town: expected one of"):
        fit_table(RowsFile.of_path(tmp_path / "r.parquet").table(), manifest)


def test_over_http(client: httpx.Client, data: Dataset) -> None:
    filled = usual(data)
    body = {"inputs": [[None, None, None], [filled[0], "Köln", filled[2]]]}
    one, other = client.post("/v1/models/people/predict", json=body).json()["predictions"]
    assert one == other
    assert client.get("/v1/models/people").json()["inputs"][0]["imputation"] == filled.tolist()
    tensor = {"name": "input", "datatype": "FP64", "shape": [1, 3], "data": [None, None, None]}
    reply = client.post("/v2/models/people/infer", json={"inputs": [tensor]}).json()
    np.testing.assert_allclose(reply["outputs"][1]["data"], one["probabilities"])
    refused = client.post("/v1/models/complete/predict", json={"inputs": [[None, "Bonn", 2]]})
    assert (refused.status_code, refused.json()["error"]["details"]["feature"]) == (422, "age")
    tensor |= {"data": [1, None, 2]}
    refused = client.post("/v2/models/complete/infer", json={"inputs": [tensor]})
    assert refused.status_code == 400
    assert "expected a number, found null" in refused.text


def test_medians_and_the_most_frequent_category() -> None:
    nan = np.nan
    rows = torch.tensor([[1.0, 2, nan], [nan, 2, 7], [2.0, nan, 7], [9.0, 0, 7]], dtype=torch.float64)
    filled = Impute(rows, categories=[1])(rows)
    assert filled.tolist() == [[1, 2, 7], [2, 2, 7], [2, 2, 7], [9, 0, 7]]


def test_arrays_with_nan_are_learned_from(tmp_path: Path) -> None:
    inputs = RNG.normal(size=(60, 2))
    inputs[:9, 1] = np.nan
    np.savez(tmp_path / "x.npz", x=inputs, y=np.arange(60) % 2)
    data = load_data(str(tmp_path / "x.npz"), Choices(missing="median"))
    np.testing.assert_array_equal(data.inputs, inputs)
    np.savez(tmp_path / "x.npz", x=RNG.normal(size=(60, 4, 4)), y=np.arange(60) % 2)
    with pytest.raises(TrainingError, match=r"x\.npz: missing: median is for rows of features, and these have shape"):
        load_data(str(tmp_path / "x.npz"), Choices(missing="median"))


def test_what_cannot_be_imputed_is_said(tmp_path: Path) -> None:
    lines = [f"{row % 2 if row < 4 else ''},,{row % 5},{'' if row == 9 else row % 2}" for row in range(100)]
    (tmp_path / "t.csv").write_text("\n".join(["rare,never,b,label", *lines]))
    data = load_data(str(tmp_path / "t.csv"), Choices("label", missing="median"))
    assert data.notes == ("1 of 100 rows left out, where values are missing: label (1)",)
    assert ("never", "no value in any row") in [(column.name, column.seen) for column in data.columns]
    train = split_data(data, 0.1, 0.2, 0.2, 0).train
    kept = type(train)(train.inputs[np.isnan(train.inputs[:, 0])], train.targets[np.isnan(train.inputs[:, 0])])
    with pytest.raises(TrainingError, match=r"t\.csv: column 'rare' has no value in any of the \d+ training rows"):
        Scaling(TrainConfig(), data, kept)
