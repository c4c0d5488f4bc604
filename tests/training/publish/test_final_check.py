"""What is published reads its own file: the same rows in training and in serving."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from service.__main__ import cli
from service.engine.engine import Engine
from service.rows.dialect import Dialect
from tests.toy import ToyNet
from training.cli import app
from training.data import Choices, Dataset, load_data
from training.errors import PublishFailed
from training.publish.final_check import source_rows_check

QUICK = ("--epochs", "2", "--passes", "4", "--hidden", "8", "--device", "cpu")


@pytest.fixture(scope="module")
def engine() -> Engine:
    return ToyNet().engine()


def written(folder: Path, header: str = "x0,x1,x2,x3,y") -> tuple[str, Dataset]:
    lines = [header, *(f"{i}.5,{i % 7},{i % 5},{i * 3}.25,{i}.125" for i in range(60))]
    (folder / "rows.csv").write_text("\n".join(lines))
    return str(folder / "rows.csv"), load_data(str(folder / "rows.csv"), Choices("y"))


def test_rows_that_are_read_alike_pass(engine: Engine, tmp_path: Path) -> None:
    file, data = written(tmp_path)
    source_rows_check(file, data, (data.inputs,))(engine)


def test_a_column_that_the_service_lacks_is_named(engine: Engine, tmp_path: Path) -> None:
    file, data = written(tmp_path, "x0,x1,x2,other,y")
    with pytest.raises(PublishFailed, match=r"rows.csv: the service would refuse .*: there is no column x3"):
        source_rows_check(file, data, (data.inputs,))(engine)


def test_a_value_that_is_read_otherwise_is_named(engine: Engine, tmp_path: Path) -> None:
    file, data = written(tmp_path)
    other = data.inputs.copy()
    other[3, 2] += 1
    with pytest.raises(PublishFailed, match=r"row 3: the service would read x2 as 3.0, and the network .* from 4.0"):
        source_rows_check(file, data, (other,))(engine)


def test_rows_left_out_are_not_tried(engine: Engine, tmp_path: Path) -> None:
    file, _ = written(tmp_path)
    text = Path(file).read_text().splitlines()
    text[3] = ",,,,"
    Path(file).write_text("\n".join(text))
    data = load_data(file, Choices("y", missing="drop"))
    assert len(data.inputs) == 59
    source_rows_check(file, data, (data.inputs,))(engine)


def test_the_file_of_a_training_is_scored_as_it_stands(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sizes, codes = rng.uniform(1, 9, 200), np.array(["00501", "02138", "10001"])[rng.integers(0, 3, 200)]
    rows = [f'"{z}" ;{s:.2f};{s > 5}'.replace(".", ",") for z, s in zip(codes, sizes, strict=True)]
    file = tmp_path / "homes.csv.gz"
    file.write_bytes(gzip.compress("\r\n".join(['Zip ;"Size; net (m, m)" ;large', *rows]).encode("utf-16")))
    said = ["--data", str(file), "--target", "large", "--categorical", "Zip", "--models", str(tmp_path)]
    trained = CliRunner().invoke(app, ["train", *said, *QUICK])
    assert trained.exit_code == 0, trained.output
    assert "3 values: 00501, 02138, 10001" in trained.output
    scored = CliRunner().invoke(cli, ["predict", str(file), "--model", str(tmp_path / "homes" / "1")])
    assert scored.exit_code == 0, scored.output
    answers = json.loads(scored.stdout)["predictions"]
    assert len(answers) == 200
    line = json.dumps([codes[0], round(sizes[0], 2)]).encode()
    one = CliRunner().invoke(cli, ["predict", "-", "--model", str(tmp_path / "homes" / "1")], input=b"[" + line + b"]")
    assert json.loads(one.stdout)["predictions"] == answers[:1]


def test_what_is_said_of_a_file_is_said_of_others_too(tmp_path: Path) -> None:
    lines = ["größe|y", *(f"1,{i:03}|{i}" for i in range(99))]
    (tmp_path / "a.csv").write_bytes("\n".join(lines).encode("cp1252"))
    data = load_data(str(tmp_path / "a.csv"), Choices("y", dialect=Dialect("|", ",", "cp1252")))
    assert data.features == ("größe",)
    assert data.inputs[:3, 0].tolist() == [1.0, 1.001, 1.002]
