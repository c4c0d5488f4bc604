"""CSV and Parquet files: which role each column gets, and what is refused."""

import datetime
import gzip
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from training.data import Choices, Dataset, load_data
from training.errors import TrainingError

TOWNS = ("Bonn", "Köln", "Trier")


def write(folder: Path, text: str, name: str = "houses.csv") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def houses(rows: int = 60, **columns: list[object]) -> str:
    """A column `y` to learn, `size`, `town`, and others."""
    all_columns: dict[str, list[object]] = {
        "size": [20 + 0.5 * i for i in range(rows)],
        "town": [TOWNS[i % 3] for i in range(rows)],
        **columns,
        "y": [i * 1.25 for i in range(rows)],
    }
    lines = [",".join(all_columns), *(",".join(map(str, row)) for row in zip(*all_columns.values(), strict=True))]
    return "\n".join(lines)


def roles(data: Dataset) -> dict[str, str]:
    return {column.name: column.role for column in data.columns}


def test_roles_are_inferred_and_shown(tmp_path: Path) -> None:
    names: list[object] = [f"house {i}" for i in range(60)]
    file = write(tmp_path, houses(id=list(range(60)), name=names, country=["DE"] * 60, grade=[1, 2] * 30))
    data = load_data(file, Choices("y", ignore=("grade",)))
    assert roles(data) == {
        "size": "number", "town": "category", "id": "ignored", "name": "ignored", "country": "ignored",
        "grade": "ignored", "y": "target",
    }  # fmt: skip
    assert {column.name: column.seen for column in data.columns}["town"] == "3 values: Bonn, Köln, Trier"
    assert (data.task, data.features, data.categories) == ("regression", ("size", "town"), {"town": TOWNS})
    np.testing.assert_array_equal(data.inputs[:4], [[20, 0], [20.5, 1], [21, 2], [21.5, 0]])
    assert data.targets.shape == (60, 1)


def test_whole_numbers_become_categories_when_it_is_said(tmp_path: Path) -> None:
    data = load_data(write(tmp_path, houses(grade=[10, 2] * 30)), Choices("y", categorical=("grade",)))
    assert data.categories["grade"] == ("2", "10")
    assert data.inputs[:2, data.features.index("grade")].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("target", "task", "labels"),
    [
        ("town", "auto", TOWNS),
        ("grade", "auto", ("2", "10")),
        ("grade", "regression", ()),
        ("fair", "auto", ("false", "true")),
        ("y", "auto", ()),
    ],
)
def test_the_task_is_inferred(tmp_path: Path, target: str, task: str, labels: tuple[str, ...]) -> None:
    file = write(tmp_path, houses(grade=[10, 2] * 30, fair=["true", "false"] * 30))
    data = load_data(file, Choices(target, task=task))  # type: ignore[arg-type]
    assert data.labels == labels


def test_parquet_gives_what_csv_gives(tmp_path: Path) -> None:
    rows = range(60)
    columns = {"size": [20 + 0.5 * i for i in rows], "town": pa.array([TOWNS[i % 3] for i in rows]).dictionary_encode()}
    parquet.write_table(pa.table({**columns, "y": [i * 1.25 for i in rows]}), tmp_path / "houses.parquet")
    once = load_data(str(tmp_path / "houses.parquet"), Choices("y"))
    other = load_data(write(tmp_path, houses()), Choices("y"))
    assert (once.sha256, once.categories) == (other.sha256, other.categories)


def test_rows_with_missing_values_are_left_out_when_it_is_said(tmp_path: Path) -> None:
    file = write(tmp_path, houses(age=["", "NA", *range(1, 59)], kind=["", *("ab" * 30)[:59]]))
    with pytest.raises(
        TrainingError, match=r"missing in 2 columns \(of 60 rows\): age \(2\), kind \(1\); fill .* --missing drop"
    ):
        load_data(file, Choices("y"))
    data = load_data(file, Choices("y", missing="drop"))
    assert len(data.inputs) == 58
    assert data.notes == ("2 of 60 rows left out, where values are missing: age (2), kind (1)",)
    assert len(load_data(file, Choices("y", ignore=("age", "kind"))).inputs) == 60
    with pytest.raises(TrainingError, match=r"no row has a value in every column; missing: age \(60\); .* --ignore"):
        load_data(write(tmp_path, houses(age=["NA"] * 60)), Choices("y", missing="drop"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [f"t{i % 55}" for i in range(110)] + [f"u{i}" for i in range(10)]}, None),
        ({"x": [f"t{i % 110}" for i in range(120)]}, r"'x' has 110 different values; at most 100 .* --ignore x"),
        ({"x": [*range(119), "?"]}, r"'x' holds numbers, but text in 1 of 120 rows, the first in line 121: '\?'"),
        ({"x": [f"{i / 4:.2f} €" for i in range(120)]}, r"'x' holds numbers with marks beside them, as '0.00 €'"),
        ({"x": [f"{i}%" for i in range(60)] * 2}, None),
        ({"x": [f"0{i}" for i in range(110)] + ["1"] * 10}, r"'x' has 111 .* text as some have zeros before"),
        ({"x": ["2024-01-01"] * 119 + ["2024-01-02"]}, r"'x' holds dates, which a network cannot learn from"),
        ({"x": ["1", "inf"] * 60}, r"'x' has 60 values that are not finite numbers, the first in line 3: inf"),
        ({"x": ["1", "1e400"] * 60}, r"'x' has 60 values that are not finite numbers"),
        ({"x": [2**53, 2**53 + 1] * 60}, r"'x' holds whole numbers that 64-bit floating point cannot tell apart"),
        ({"x": [10**20, 10**20 + 1] * 60}, r"'x' holds whole numbers that 64-bit floating point cannot tell apart"),
        ({"x": [f"{i} {'kg' if i % 2 else 'g'}" for i in range(120)]}, r"numbers with marks beside them, as '0 g'"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_from(tmp_path: Path, columns: dict[str, list[object]], message: str | None) -> None:
    file = write(tmp_path, houses(120, **columns))
    if message is None:
        assert roles(load_data(file, Choices("y")))["x"] == "category"
        return
    with pytest.raises(TrainingError, match=message):
        load_data(file, Choices("y"))
    assert "x" not in load_data(file, Choices("y", ignore=("x",))).features


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (Choices(), "name the column to learn with --target; there are: size, town, y"),
        (Choices("towm"), "target: there is no column 'towm'; did you mean 'town'"),
        (Choices("y", ignore=("zzz",)), "ignore: there is no column 'zzz'; there are: size, town, y"),
        (Choices("y", ignore=("y",)), "ignore: y cannot be used and ignored at once"),
        (Choices("town", task="regression"), "target 'town' holds text, as 'Bonn'; a regression needs numbers"),
        (Choices("y", task="classification"), "target 'y' holds numbers with a fraction"),
        (Choices("y", ignore=("size", "town")), "no column is left to learn from: there is only the target"),
    ],
)
def test_choices_that_cannot_be(tmp_path: Path, choices: Choices, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        load_data(write(tmp_path, houses()), choices)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its first line is empty"),
        ("1,2,3\n4,5,6\n", "its first line holds numbers"),
        ("a,y\n", "has no rows"),
        ("a,a,y\n1,2,3\n", "columns share the name a"),
        ("a,y\n1,2\n1,2,3\n", "line 3: expected 2 values, found 3"),
        ("a,y\n1,2\n2,2\n", "target 'y' is always 2"),
    ],
)
def test_files_that_are_no_table(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        load_data(write(tmp_path, text), Choices("y"))


def test_bytes_that_are_no_text_and_files_of_no_known_kind(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"a,\xff\n1,2\n")
    (tmp_path / "x.parquet").write_bytes(b"nothing")
    (tmp_path / "x.xlsx").write_bytes(b"nothing")
    for name, message in (
        ("csv", "line 1: is not text in UTF-8"),
        ("parquet", "is not a Parquet file"),
        ("xlsx", r"expected a file of \.csv"),
    ):
        with pytest.raises(TrainingError, match=message):
            load_data(str(tmp_path / f"x.{name}"), Choices("y"))


def test_classes_are_named_by_whole_numbers_of_any_size(tmp_path: Path) -> None:
    file = write(tmp_path, "x,y\n" + "".join(f"{i / 4},{(1e20, -3.0)[i % 2]}\n" for i in range(40)))
    assert load_data(file, Choices("y")).labels == ("-3", "100000000000000000000")


def test_a_name_that_comes_twice_must_be_ignored(tmp_path: Path) -> None:
    file = write(tmp_path, "x,a,a,y\n" + "".join(f"{i / 4},{i},{i},{'yn'[i % 2]}\n" for i in range(40)))
    with pytest.raises(TrainingError, match=r"columns share the name a; .* --ignore"):
        load_data(file, Choices("y"))
    assert load_data(file, Choices("y", ignore=("a",))).features == ("x",)


def test_dates_in_parquet_are_refused(tmp_path: Path) -> None:
    days = [datetime.date(2024, 1, 1 + i) for i in range(20)]
    parquet.write_table(pa.table({"day": days, "y": [i * 0.5 for i in range(20)]}), tmp_path / "x.parquet")
    with pytest.raises(TrainingError, match=r"'day' holds dates, .* or use --ignore day"):
        load_data(str(tmp_path / "x.parquet"), Choices("y"))


def test_a_mark_at_the_end_of_each_line_is_no_column(tmp_path: Path) -> None:
    lines = [f"{line},," for line in houses().splitlines()]
    assert load_data(write(tmp_path, "\n".join(lines)), Choices("y")).features == ("size", "town")


def test_codes_keep_their_zeros_and_what_is_called_categorical_its_text(tmp_path: Path) -> None:
    """Postal codes became 501 and 2138, and a caller's "02138" was refused."""
    codes: list[object] = ["00501", "02138", "10001"] * 20
    file = write(tmp_path, houses(zip=codes, grade=["1.50", "2.00"] * 30))
    data = load_data(file, Choices("y", categorical=("grade",)))
    assert (data.categories["zip"], data.categories["grade"]) == (("00501", "02138", "10001"), ("1.50", "2.00"))
    assert load_data(write(tmp_path, houses(zip=codes)), Choices("zip")).labels == ("00501", "02138", "10001")


def test_json_lines_give_what_csv_gives(tmp_path: Path) -> None:
    header, *lines = (line.split(",") for line in houses().splitlines())
    kinds = (float, str, float)
    rows = [{name: kind(cell) for name, kind, cell in zip(header, kinds, line, strict=True)} for line in lines]
    once = load_data(write(tmp_path, "\n".join(map(json.dumps, rows)), "houses.jsonl"), Choices("y"))
    other = load_data(write(tmp_path, houses()), Choices("y"))
    assert (once.sha256, once.categories) == (other.sha256, other.categories)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_null_among_names_in_parquet_is_a_missing_value(tmp_path: Path, suffix: str) -> None:
    towns: list[str | None] = [*TOWNS, None] * 15
    numbers = [Decimal(i) / 4 for i in range(60)]
    table = pa.table({"size": numbers, "town": towns, "y": [i * 1.25 for i in range(60)]})
    with (tmp_path / f"x.parquet{suffix}").open("wb") as file:
        parquet.write_table(table, gzip.GzipFile(fileobj=file, mode="wb") if suffix else file)
    with pytest.raises(TrainingError, match=r"values are missing in 1 columns \(of 60 rows\): town \(15\)"):
        load_data(str(tmp_path / f"x.parquet{suffix}"), Choices("y"))
    data = load_data(str(tmp_path / f"x.parquet{suffix}"), Choices("y", missing="drop"))
    assert data.inputs[:4].tolist() == [[0, 0], [0.25, 1], [0.5, 2], [1, 0]]
