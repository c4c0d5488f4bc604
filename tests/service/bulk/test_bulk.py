"""Scoring of Parquet files: the answers of the service, each once, however often a job broke off."""

import datetime
import gzip
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import httpx
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from service.bulk.plan import PLAN, SUCCESS
from service.bulk.store import BESIDE, Store
from service.bulk.work import ROWS_AT_A_TIME
from tests.conftest import wait_until
from tests.service.test_cli import error_of, run
from tests.toy import Floats, ToyNet

PARTS = [f"part-{file:05}-{group:05}.parquet" for file in (0, 1) for group in (0, 1, 2)]
MANY = ROWS_AT_A_TIME + 10
OPTIONS = ("delimiter", "decimal", "encoding")


def write(path: Path, rows: Floats, group: int = 20, **others: Any) -> Path:
    """Rows of the toy, a column a feature."""
    path.parent.mkdir(exist_ok=True)
    columns = {f"x{i}": rows[:, i] for i in range(rows.shape[1])}
    parquet.write_table(pa.table(columns | others), path, row_group_size=group)
    return path


@pytest.fixture
def inputs(toy: ToyNet, tmp_path: Path) -> str:
    """Two files of three groups each."""
    for number in (0, 1):
        ids = [f"{number}-{row}" for row in range(50)]
        write(tmp_path / "rows" / f"{number}.parquet", toy.rows(50, seed=number), id=ids)
    return str(tmp_path / "rows" / "*.parquet")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def answers(folder: Path) -> list[dict[str, Any]]:
    return [row for part in sorted(folder.glob("part-*")) for row in parquet.read_table(part).to_pylist()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def score(published: Path, inputs: str, out: Path) -> Any:
    return lambda *options, files=inputs: run("score", files, "--out", out, "--models", published, *options)


def test_answers_are_those_of_the_service(client: httpx.Client, toy: ToyNet, score: Any, out: Path) -> None:
    result = score("--uncertainty", "--samples", "30", "--seed", "7", "--keep", "id")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("6 pieces; 100 rows in ")
    assert names(out) == [SUCCESS, PLAN, *PARTS]
    found = iter(answers(out))
    for number in (0, 1):
        for first, last in ((0, 20), (20, 40), (40, 50)):
            body = {"inputs": toy.rows(50, seed=number)[first:last].tolist(), "samples": 30, "seed": 7}
            for row, expected in enumerate(client.post("/uncertainty", json=body).json()["predictions"], first):
                answer = next(found)
                assert answer.pop("file").endswith(f"rows/{number}.parquet")
                assert answer.pop("row") == row
                assert answer.pop("id") == f"{number}-{row}"
                expected |= {f"deterministic.{name}": value for name, value in expected.pop("deterministic").items()}
                assert answer.keys() == expected.keys()
                for name, value in expected.items():
                    assert answer[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-6))
    assert next(found, None) is None


def test_without_uncertainty_the_deterministic_answer(score: Any, toy: ToyNet, out: Path) -> None:
    assert score().exit_code == 0
    first = answers(out)[0]
    assert list(first) == ["file", "row", "label", "probability", "probabilities"]


def test_a_job_that_broke_off_is_taken_up(score: Any, out: Path) -> None:
    assert score().exit_code == 0
    before = answers(out)
    kept = (out / PARTS[0]).stat()
    for name in (SUCCESS, PARTS[1], PARTS[4]):
        (out / name).unlink()
    (out / f"{BESIDE}0123-{PARTS[1]}").write_bytes(b"half")
    result = score()
    assert result.stdout.startswith("6 pieces, 4 of them from before; 40 rows in ")
    assert names(out) == [SUCCESS, PLAN, *PARTS]
    assert answers(out) == before
    assert (out / PARTS[0]).stat().st_mtime_ns == kept.st_mtime_ns
    assert score().stdout == "6 pieces, 6 of them from before\n"


def test_a_job_that_is_killed_is_taken_up(toy: ToyNet, published: Path, tmp_path: Path, out: Path) -> None:
    file = write(tmp_path / "rows.parquet", toy.rows(20_000), group=500)
    words = ["score", str(file), "--models", str(published), "--uncertainty", "--samples", "300", "--out"]
    process = subprocess.Popen([sys.executable, "-m", "service", *words, str(out)])
    wait_until(lambda: len(list(out.glob("part-*"))) > 2 or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (out / SUCCESS).exists()
    assert run(*words, out).exit_code == 0
    assert run(*words, tmp_path / "at once").exit_code == 0
    assert names(out) == names(tmp_path / "at once")
    assert answers(out) == answers(tmp_path / "at once")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--uncertainty", "--seed", "1"], "seed was 0, and is 1"),
        (["--uncertainty", "--samples", "5"], "samples was 100, and is 5"),
        ([], "samples was 100, and is None"),
        (["--uncertainty", "--keep", "id"], "keep was (), and is ('id',)"),
        (["--uncertainty", "--model", "yield"], "model was toy/2, and is yield/1"),
    ],
)
def test_another_job_is_refused(score: Any, out: Path, options: list[str], what: str) -> None:
    assert score("--uncertainty").exit_code == 0
    before = {name: (out / name).read_bytes() for name in names(out)}
    assert what in error_of(score(*options))
    assert {name: (out / name).read_bytes() for name in names(out)} == before


def test_changed_inputs_are_refused(score: Any, inputs: str, toy: ToyNet, tmp_path: Path) -> None:
    assert score().exit_code == 0
    write(tmp_path / "rows" / "2.parquet", toy.rows(5))
    assert "2.parquet was absent, and is " in error_of(score())
    (tmp_path / "rows" / "2.parquet").unlink()
    write(tmp_path / "rows" / "1.parquet", toy.rows(50, seed=9))
    assert "1.parquet was " in error_of(score())


def test_a_changed_model_is_refused(toy: ToyNet, inputs: str, out: Path, tmp_path: Path) -> None:
    toy.publish(tmp_path / "one")
    ToyNet(seed=5).publish(tmp_path / "two")
    assert run("score", inputs, "--out", out, "--models", tmp_path / "one").exit_code == 0
    assert "its manifest was " in error_of(run("score", inputs, "--out", out, "--models", tmp_path / "two"))


def test_a_folder_of_other_things_is_left_alone(score: Any, out: Path) -> None:
    out.mkdir()
    (out / "mine").write_text("precious")
    assert "found mine" in error_of(score())
    assert names(out) == ["mine"]


# what is in the files


def test_a_long_group_is_read_bit_by_bit(score: Any, toy: ToyNet, tmp_path: Path, out: Path) -> None:
    assert score(files=write(tmp_path / "long.parquet", toy.rows(MANY), group=MANY)).exit_code == 0
    assert names(out) == [SUCCESS, PLAN, PARTS[0]]
    assert [row["row"] for row in answers(out)] == list(range(MANY))


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float64(), 4), pa.large_list(pa.int64())])
def test_rows_may_be_lists(score: Any, toy: ToyNet, tmp_path: Path, out: Path, kind: pa.DataType) -> None:
    rows = toy.rows(5).round().astype(np.int64)
    parquet.write_table(pa.table({"input": pa.array(rows.tolist(), kind)}), tmp_path / "lists.parquet")
    assert score(files=tmp_path / "lists.parquet").exit_code == 0
    found = [row["probabilities"] for row in answers(out)]
    logits = ToyNet(seed=1).predict(rows.astype(np.float32)) / 1.5
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_images_may_be_nested_or_flat(tmp_path: Path) -> None:
    models = Path(__file__).parents[3] / "models"
    images = np.random.default_rng(0).random((3, 1, 28, 28)).astype(np.float32)
    for name, lists in {"nested": images.tolist(), "flat": images.reshape(3, -1).tolist()}.items():
        parquet.write_table(pa.table({"input": lists}), tmp_path / f"{name}.parquet")
        words = ("--out", tmp_path / name, "--models", models, "--model", "mnist")
        assert run("score", tmp_path / f"{name}.parquet", *words).exit_code == 0
    nested, flat = ([row["probabilities"] for row in answers(tmp_path / name)] for name in ("nested", "flat"))
    assert nested == flat


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.jsonl", "rows.npz"])
def test_what_predict_takes_is_scored_too(
    score: Any, toy: ToyNet, tmp_path: Path, out: Path, published: Path, name: str
) -> None:
    rows, file = toy.rows(30), tmp_path / name
    lines = [
        {"id": f"{row:03}", **{f"x{i}": value for i, value in enumerate(values)}}
        for row, values in enumerate(rows.tolist())
    ]
    keep = () if name.endswith("npz") else ("--keep", "id")
    if name == "rows.npz":
        np.savez(file, x=rows, y=np.zeros(30))
    elif name == "rows.jsonl":
        file.write_text("\n".join(map(json.dumps, lines)))
    else:
        text = "\n".join([";".join(lines[0]), *(";".join(map(str, line.values())).replace(".", ",") for line in lines)])
        file.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    assert (result := score(*keep, files=file)).exit_code == 0, result.stderr
    predicted = run("predict", file, "--models", published)
    expected = [row["probabilities"] for row in json.loads(predicted.stdout)["predictions"]]
    np.testing.assert_allclose([row["probabilities"] for row in answers(out)], expected, rtol=1e-6)
    assert [row.get("id") for row in answers(out)] == [line["id"] if keep else None for line in lines]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x0": [1.0], "x1": [1.0], "x2": [1.0]}, "there is no column x3"),
        ({"x0": ["a"], "x1": [1.0], "x2": [1.0], "x3": [1.0]}, "row 0, column x0: expected a number, found 'a'"),
        (
            {"x0": [1.0, None], "x1": [1.0, 2], "x2": [1.0, 2], "x3": [1.0, 2]},
            "row 1, column x0: has no value; expected a number",
        ),
        ({"input": [[1.0, 2.0, 3.0]]}, "input[0]: expected 4 values, found 3"),
        ({"input": [[1.0, 2.0, 3.0, 4.0], None]}, "row 1, column input: has no value; expected 4 numbers"),
        ({"input": [[1.0, 2.0, None, 4.0]]}, "inputs[0][2]: expected a finite number"),
        ({"x0": [1.0], "x1": [1.0], "x2": [1.0], "x3": [datetime.date(2024, 1, 1)]}, "expected a number, found dates"),
        ({"input": ["1 2 3 4"]}, "column input: expected numbers, or lists of them; found values of type string"),
        ({"input": [{"x0": 1.0}]}, "column input: expected numbers, or lists of them; found values of type struct"),
    ],
)
def test_what_does_not_fit_is_named(
    score: Any, tmp_path: Path, out: Path, columns: dict[str, list[Any]], message: str
) -> None:
    parquet.write_table(pa.table(columns), tmp_path / "odd.parquet")
    error = error_of(score(files=tmp_path / "odd.parquet"))
    assert "odd.parquet: " in error
    assert message in error
    assert not list(out.glob("part-*"))
    assert out.exists() == ("no column" not in message)  # which is seen before anything is read


class Homes(ToyNet):
    """Rows whose second value is a category."""

    def rows(self, count: int, seed: int = 1) -> Floats:
        rows = super().rows(count, seed)
        rows[:, 1] = rows[:, 1] > 0
        return rows


def test_categories_go_by_name(tmp_path: Path) -> None:
    Homes().publish(tmp_path, categories={"x1": ("low", "high")})
    parts = {"x0": [1.0, 1.0], "x2": [0.0, 0.0], "x3": [2.0, 2.0]}
    for name, values in {"names": ["high", "low"], "numbers": [1.0, 0.0]}.items():
        parquet.write_table(pa.table(parts | {"x1": values}), tmp_path / f"{name}.parquet")
        words = ("score", tmp_path / f"{name}.parquet", "--out", tmp_path / f"of {name}", "--models", tmp_path)
        assert run(*words).exit_code == 0
    by_name, by_number = (
        [row["probabilities"] for row in answers(tmp_path / f"of {name}")] for name in ("names", "numbers")
    )
    assert by_name == by_number


def test_files_that_are_none(score: Any, tmp_path: Path) -> None:
    assert "there is no such file" in error_of(score(files=tmp_path / "nothing"))
    (tmp_path / "text.parquet").write_text("no")
    assert "is not a Parquet file" in error_of(score(files=tmp_path / "text.parquet"))
    assert "nowhere" in error_of(score(files="nowhere://rows/*.parquet"))


def test_options_that_do_not_go_together(score: Any, out: Path) -> None:
    assert "require --uncertainty" in error_of(score("--samples", "5"), code=2)
    assert "--seed" in error_of(score("--uncertainty", "--seed", "random"), code=2)
    assert "--workers requires --ray" in error_of(score("--workers", "2"), code=2)
    assert "--keep nobody" in error_of(score("--keep", "nobody"))
    assert not out.exists()  # so that the command can be corrected
    assert score().exit_code == 0


@pytest.mark.parametrize("name", ["label", "row", "file"])
def test_what_is_kept_and_what_is_answered_are_not_mixed(
    score: Any, toy: ToyNet, tmp_path: Path, out: Path, name: str
) -> None:
    """A column of the truth is called label more often than not."""
    truth: dict[str, Any] = {name: ["a", "b", "c"]}
    path = write(tmp_path / "own.parquet", toy.rows(3), **truth)
    assert f"--keep {name}: the answers have a column of that name" in error_of(score("--keep", name, files=path))
    assert not list(out.glob("part-*"))


# stores


@pytest.fixture
def bucket() -> Iterator[Any]:
    """A store behind a URL."""
    store = fsspec.filesystem("memory")
    store.makedirs("/bucket")
    yield store
    store.rm("/bucket", recursive=True)


def test_files_may_lie_behind_urls(
    score: Any, published: Path, tmp_path: Path, inputs: str, out: Path, bucket: Any
) -> None:
    bucket.put(f"{tmp_path}/rows/", "/bucket/rows/", recursive=True)
    words = ("score", "memory://bucket/rows/*.parquet", "--out", "memory://bucket/out", "--models", published)
    result = run(*words)
    assert result.exit_code == 0, result.stderr
    assert score().exit_code == 0
    there = {path.rpartition("/")[2] for path in bucket.ls("/bucket/out", detail=False)}
    assert there == set(names(out))
    bucket.get("/bucket/out/", f"{tmp_path}/fetched/", recursive=True)
    assert [row | {"file": ""} for row in answers(tmp_path / "fetched")] == [row | {"file": ""} for row in answers(out)]
    assert run(*words).stdout == "6 pieces, 6 of them from before\n"


def test_what_fails_while_it_is_written_is_not_there(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    try:
        with store.writing("name") as file:
            file.write(b"half")
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert store.names() == set()


def test_the_plan_can_be_read_by_people(score: Any, out: Path) -> None:
    assert score("--uncertainty").exit_code == 0
    plan = json.loads((out / PLAN).read_text())
    assert plan["question"] == {"samples": 100, "seed": 0, "keep": [], "dialect": dict.fromkeys(OPTIONS)}
    assert [source["groups"] for source in plan["sources"]] == [[20, 20, 10]] * 2
