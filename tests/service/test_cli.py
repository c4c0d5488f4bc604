"""The command line: what it prints, and one plain line and an exit code for what is wrong."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from service import __version__
from service.__main__ import cli
from service.model.manifest import SAMPLE_GRAPH
from tests.service.loading.test_loading import replace
from tests.service.processes import service
from tests.toy import HIDDEN, Floats, ToyNet


def run(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], input=stdin)


def error_of(result: Result, code: int = 1) -> str:
    """The one line that says what is wrong."""
    assert result.exit_code == code
    assert not result.stdout
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


@pytest.fixture(scope="module")
def rows(toy: ToyNet) -> Floats:
    return toy.rows(3)


@pytest.fixture
def model(published: Path) -> Path:
    return published / "toy" / "2"


# help


@pytest.mark.parametrize("command", [[], ["serve"], ["check"], ["predict"], ["score"]])
def test_help(command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Usage: dropserve" in result.stdout


def test_help_names_the_environment() -> None:
    text = run("serve", "--help").stdout
    for name in ("DROPSERVE_MODELS", "DROPSERVE_HOST", "DROPSERVE_PORT", "docs/settings.md"):
        assert name in text


def test_version() -> None:
    assert run("--version").stdout == f"{__version__}\n"


# check


def test_check_prints_its_findings(model: Path) -> None:
    result = run("check", model)
    assert result.exit_code == 0
    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == [
        "✓ manifest",
        "✓ digests",
        "✓ graphs",
        "✓ golden answers",
        f"{model} can be served.",
    ]


def test_check_of_a_damaged_model(toy: ToyNet, tmp_path: Path) -> None:
    folder = toy.publish(tmp_path)
    (folder / SAMPLE_GRAPH).write_bytes(b"damaged")
    result = run("check", folder)
    assert result.exit_code == 1
    assert result.stdout.startswith("✓ manifest")
    [line] = result.stderr.splitlines()
    assert line.startswith(f"✗ {folder / SAMPLE_GRAPH}: is damaged")


def test_check_of_nothing(tmp_path: Path) -> None:
    result = run("check", tmp_path / "nowhere")
    assert result.exit_code == 1
    assert "no such file" in result.stderr


# predict


def written(tmp_path: Path, name: str, rows: Floats) -> Path:
    """The rows in a file of the kind that its name says."""
    path = tmp_path / name
    if path.suffix == ".npy":
        np.save(path, rows)
    elif path.suffix == ".npz":
        np.savez(path, input=rows)
    elif path.suffix == ".json":
        path.write_text(json.dumps({"inputs": rows.tolist()}))
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows.tolist())))
    else:
        header = ["x3,x1,x0,x2"] if name == "shuffled.csv" else ["x0,x1,x2,x3"] if name == "header.csv" else []
        order = [3, 1, 0, 2] if name == "shuffled.csv" else [0, 1, 2, 3]
        path.write_text("\n".join([*header, *(",".join(map(repr, row)) for row in rows[:, order].tolist())]))
    return path


@pytest.mark.parametrize(
    "name", ["rows.json", "rows.jsonl", "rows.npz", "rows.npy", "rows.csv", "header.csv", "shuffled.csv", "rows.txt"]
)
def test_a_file_is_scored_as_the_service_would(
    client: httpx.Client, published: Path, tmp_path: Path, rows: Floats, name: str
) -> None:
    result = run("predict", written(tmp_path, name, rows), "--models", published)
    assert result.exit_code == 0
    assert json.loads(result.stdout) == client.post("/predict", json={"inputs": rows.tolist()}).json()


def test_uncertainty_is_that_of_the_service(
    client: httpx.Client, published: Path, tmp_path: Path, rows: Floats
) -> None:
    file = written(tmp_path, "rows.json", rows)
    result = run("predict", file, "--models", published, "--uncertainty", "--samples", "30", "--seed", "7")
    expected = client.post("/uncertainty", json={"inputs": rows.tolist(), "samples": 30, "seed": 7}).content
    assert result.stdout_bytes == expected + b"\n"


@pytest.mark.parametrize("name", ["rows.json", "rows.npz", "rows.npy", "rows.csv"])
def test_stdin_is_scored(model: Path, tmp_path: Path, rows: Floats, name: str) -> None:
    file = written(tmp_path, name, rows)
    result = run("predict", "-", "--model", model, stdin=file.read_bytes())
    assert result.exit_code == 0
    assert result.stdout == run("predict", file, "--model", model).stdout


def test_a_model_is_chosen(published: Path, tmp_path: Path, rows: Floats) -> None:
    file = written(tmp_path, "rows.csv", rows)
    assert json.loads(run("predict", file, "--model", published / "yield" / "1").stdout)["model"] == "yield"


def test_the_default_model_is_that_of_the_settings(
    published: Path, tmp_path: Path, rows: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DROPSERVE_MODELS", str(published))
    monkeypatch.setenv("DROPSERVE_DEFAULT_MODEL", "yield")
    assert json.loads(run("predict", written(tmp_path, "rows.csv", rows)).stdout)["model"] == "yield"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", b"1,2,3,4\n1,2,x,4\n", "line 2, column 3: expected a number, found 'x'"),
        ("rows.csv", b"x0,x1,x2\n1,2,3\n", "there is no column x3; expected x0, x1, x2, x3; found x0, x1, x2"),
        ("rows.json", b"[[1, 2, 3]]", "inputs[0]: expected 4 values, found 3 values; a row is 4 numbers"),
        ("rows.json", b"[[1, 2, 3, NaN]]", "inputs[0][3]: expected a finite number, found NaN or an infinity"),
        ("rows.npz", b"junk", "the file is not an NPZ file: "),
        ("rows.npy", b"junk", "the file is not an NPY file"),
    ],
)
def test_an_invalid_file_is_reported_in_one_line(
    model: Path, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    assert error_of(run("predict", file, "--model", model)).startswith(f"{name}: {message}")


def test_no_file(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "nowhere.csv"
    assert error_of(run("predict", file, "--model", model)) == f"{file}: cannot be read: No such file or directory"
    assert "is a folder; expected Parquet" in error_of(run("predict", tmp_path, "--model", model))


def test_no_model(tmp_path: Path) -> None:
    assert "there is no model" in error_of(run("predict", "-", "--model", tmp_path, stdin=b"1,2,3,4"))
    assert "there is no model" in error_of(run("predict", "-", "--models", tmp_path, stdin=b"1,2,3,4"))


@pytest.mark.parametrize(
    ("given", "version"), [("toy", 2), ("{models}/toy", 2), ("{models}/toy/", 2), ("{models}/toy/1", 1)]
)
def test_a_model_without_a_version_is_the_highest(
    published: Path, tmp_path: Path, rows: Floats, given: str, version: int
) -> None:
    file = written(tmp_path, "rows.csv", rows)
    result = run("predict", file, "--models", published, "--model", given.format(models=published))
    answer = json.loads(result.stdout)
    assert (answer["model"], answer["version"]) == ("toy", version)


def test_an_unknown_model_is_reported_with_the_known_ones(published: Path) -> None:
    message = error_of(run("predict", "-", "--models", published, "--model", "tony", stdin=b"1,2,3,4"))
    assert message.startswith(
        f"there is no model tony in {published}; known models: toy, yield. --model accepts a name"
    )


@pytest.mark.parametrize("option", ["--samples", "--seed"])
def test_options_of_uncertainty_need_it(model: Path, option: str) -> None:
    message = error_of(run("predict", "-", "--model", model, option, "5", stdin=b"1,2,3,4"), code=2)
    assert message == "--samples and --seed require --uncertainty"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "9" * 23], '--seed: expected a whole number from 0 to 9223372036854775807, or "random"'),
        (["--seed", "Random"], '--seed: expected a whole number from 0 to 9223372036854775807, or "random"'),
        (["--samples", "9" * 23], "--samples: "),
        (["--samples", "0"], "--samples: expected a whole number >= 1"),
    ],
)
def test_options_are_bounded_as_fields_are(model: Path, arguments: list[str], message: str) -> None:
    result = run("predict", "-", "--model", model, "--uncertainty", *arguments, stdin=b"1,2,3,4")
    assert error_of(result, code=2).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [(["--samples", "100000000000"], b"[[1, 2, 3, 4]]"), ([], b'{"inputs": [[1, 2, 3, 4]], "samples": 100000000000}')],
)
def test_samples_are_limited_as_those_of_the_service(model: Path, arguments: list[str], stdin: bytes) -> None:
    result = run("predict", "-", "--model", model, "--uncertainty", *arguments, stdin=stdin)
    assert error_of(result) == "samples: expected at most 10000, found 100000000000"


def test_a_random_seed_is_named_and_can_be_given_again(model: Path) -> None:
    ask: list[str | Path] = ["predict", "-", "--model", model, "--uncertainty", "--samples", "5", "--seed"]
    drawn, other = (run(*ask, "random", stdin=b"1,2,3,4") for _ in range(2))
    seed = json.loads(drawn.stdout)["seed"]
    assert seed != json.loads(other.stdout)["seed"]
    assert run(*ask, str(seed), stdin=b"1,2,3,4").stdout == drawn.stdout


@pytest.mark.parametrize("field", ["samples", "seed"])
def test_a_file_with_options_of_uncertainty_is_refused_by_predict(model: Path, field: str) -> None:
    stdin = json.dumps({"inputs": [[1, 2, 3, 4]], field: 5}).encode()
    message = error_of(run("predict", "-", "--model", model, stdin=stdin))
    assert message.startswith(f"{field}: there is no such field; expected inputs, coverage")
    assert message.endswith("--uncertainty")
    assert run("predict", "-", "--model", model, "--uncertainty", stdin=stdin).exit_code == 0


@pytest.mark.parametrize(
    ("model", "options", "header"),
    [
        ("toy", [], "label,probability"),
        (
            "toy",
            ["--uncertainty"],
            "label,predictive_entropy,expected_entropy,mutual_information,variation_ratio,"
            "deterministic.label,deterministic.probability",
        ),
        ("yield", [], "values"),
        (
            "yield",
            ["--uncertainty"],
            "mean,epistemic_std,aleatoric_std,total_std,standard_error,deterministic.values",
        ),
    ],
)
def test_answers_may_be_csv(published: Path, rows: Floats, model: str, options: list[str], header: str) -> None:
    ask: list[str | Path] = ["predict", "-", "--models", published, "--model", model, *options]
    stdin = json.dumps(rows.tolist()).encode()
    names, *lines = run(*ask, "--output", "csv", stdin=stdin).stdout.splitlines()
    assert names == header
    assert len(lines) == len(rows)
    if model == "toy" and not options:
        expected = json.loads(run(*ask, stdin=stdin).stdout)["predictions"]
        assert lines == [f"{row['label']},{row['probability']}" for row in expected]


@pytest.mark.parametrize("arguments", [["--samples", "0"], ["--seed", "-1"], ["--samples", "many"], ["--sample", "5"]])
def test_wrong_options(model: Path, arguments: list[str]) -> None:
    result = run("predict", "-", "--model", model, "--uncertainty", *arguments, stdin=b"1,2,3,4")
    assert result.exit_code == 2
    assert arguments[0] in result.stderr


# settings


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--port", "70000"], {}, "--port: "),
        ([], {"DROPSERVE_PORT": "http"}, "DROPSERVE_PORT: "),
        ([], {"DROPSERVE_QUEUE_SIZE": "0"}, "DROPSERVE_QUEUE_SIZE"),
        ([], {"DROPSERVE_LOG_LEVEL": "loud"}, "DROPSERVE_LOG_LEVEL"),
    ],
)
def test_invalid_settings_are_reported_in_one_line_each(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], environment: dict[str, str], message: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert error_of(run("serve", *arguments), code=2).startswith(message)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("DROPSERVE_SEEED", "DROPSERVE_SEED"),
        ("DROPSERVE_API_KEY", "DROPSERVE_API_KEYS"),
        ("DROPSERVE_MAXROWS", "DROPSERVE_MAX_ROWS"),
    ],
)
@pytest.mark.parametrize("command", [["serve"], ["predict", "-"]])
def test_a_misspelt_setting_is_reported_with_the_nearest_one(
    monkeypatch: pytest.MonkeyPatch, command: list[str], given: str, meant: str
) -> None:
    monkeypatch.setenv(given, "1")
    assert error_of(run(*command), code=2) == f"{given}: there is no such setting; did you mean {meant}?"


def test_what_is_no_setting_and_like_none_is_logged(published: Path, tmp_path: Path) -> None:
    """What Kubernetes sets for a Service of that name is not."""
    variables = {"DROPSERVE_COLOUR": "blue", "DROPSERVE_SERVICE_HOST": "10.0.0.1"}
    with service(tmp_path, "--models", str(published), **variables) as running:
        [line] = running.said("there is no such setting")
    assert line["variable"] == "DROPSERVE_COLOUR"


# as a user runs it


def test_a_stop_signal_during_the_start_stops_the_service() -> None:
    """Before uvicorn listens for signals."""
    script = """
import signal, uvicorn
from service.config import Settings
from service.http.server import run_server
uvicorn.Server.run = lambda *_, **__: signal.raise_signal(signal.SIGTERM) or print("goes on")
run_server(Settings(port=0))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"")


def test_a_stop_signal_ends_the_service_although_a_thread_hangs() -> None:
    """As one that reads models from a file system that does not answer; Python would wait for it."""
    script = """
import signal, threading, time
from service.config import Settings
from service.http import draining
from service.http.server import run_server
from service.repository.repository import Repository

def hang(_):
    signal.raise_signal(signal.SIGTERM)
    time.sleep(1000)

draining.SECONDS_TO_SPARE = 0.5
Repository.refresh = hang
run_server(Settings(port=0, drain_timeout=0.5))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, timeout=60)
    assert done.returncode == 1
    assert b"the process did not end in time and is aborted" in done.stderr


def shell(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-W", "error", "-m", "service", *arguments]
    return subprocess.run(command, capture_output=True, check=False, timeout=60, **options)


def test_the_module_runs_as_a_command_and_reads_a_pipe(model: Path, rows: Floats) -> None:
    file = io.BytesIO()
    np.save(file, rows)
    done = shell("predict", "-", "--model", str(model), input=file.getvalue())
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(json.loads(done.stdout)["predictions"]) == 3


def test_an_error_is_a_line_and_no_trace() -> None:
    done = shell("predict", "nowhere.csv", "--models", os.devnull)
    assert done.returncode == 1
    assert done.stdout == b""
    assert len(done.stderr.splitlines()) == 1


def test_torch_is_never_imported() -> None:
    script = "import service.__main__, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert not {b"torch", b"onnx", b"sklearn", b"matplotlib"} & set(done.stdout.split())


def test_brackets_in_a_message_are_not_markup(toy: ToyNet, tmp_path: Path) -> None:
    """rich eats «[any, 1, 32]» of the message; and fails at «[/x]». Print with markup=False, or escape."""
    folder = toy.publish(tmp_path)
    replace(folder, SAMPLE_GRAPH, ToyNet(hidden=HIDDEN + 1).graph(masked=True))
    result = CliRunner().invoke(cli, ["check", str(folder)])
    assert f"expected float32 [any, 1, {HIDDEN}]" in result.stderr


@pytest.mark.parametrize("name", ["[/x].csv", "[red]rows.csv"])
def test_brackets_in_a_file_name_are_not_markup(published: Path, name: str) -> None:
    result = CliRunner().invoke(cli, ["predict", name, "--models", str(published)])
    assert result.exit_code == 1
    assert name in result.stderr


def test_the_body_of_an_uncertainty_request_can_be_scored(published: Path) -> None:
    body = json.dumps({"inputs": [[0] * 4], "samples": 5, "seed": 7})
    result = CliRunner().invoke(cli, ["predict", "-", "--models", str(published), "--uncertainty"], input=body)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["seed"] == 7


@pytest.mark.parametrize(("name", "value"), [("PINS", "digits=1"), ("CORS_ORIGINS", "https://a.example")])
def test_errors_of_settings_in_json_name_json(
    monkeypatch: pytest.MonkeyPatch, published: Path, name: str, value: str
) -> None:
    monkeypatch.setenv(f"DROPSERVE_{name}", value)
    result = CliRunner().invoke(cli, ["serve", "--models", str(published)])
    assert result.exit_code == 2
    assert f"DROPSERVE_{name}: expected JSON, such as" in result.stderr
