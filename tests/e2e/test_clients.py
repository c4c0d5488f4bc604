"""Clients generated from the description: the code of docs/clients.md is type-checked and run with them.

The generators do not go with what the tests depend on; `make clients` installs them apart and names where they are.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.config import Settings
from service.http.app import create_app
from tests.conftest import running_server, wait_until
from tests.e2e.test_docs import ROOT, at, blocks
from tests.service.http.test_openapi_rules import OPERATIONS

PAGE = "docs/clients.md"
GENERATOR = os.environ.get("OPENAPI_PYTHON_CLIENT")
NODE = os.environ.get("CLIENTS_NODE")
"""A folder with the `node_modules` that tests/e2e/clients/package.json lists."""

needs_node = pytest.mark.skipif(NODE is None, reason="CLIENTS_NODE names no folder of npm's packages")
NOISE = [i * 11 % 17 for i in range(64)]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a service of the committed models, with a row that waits for review."""
    log = tmp_path_factory.mktemp("log")
    settings = Settings(models=ROOT / "models", prediction_log=log, prediction_log_seconds=0.1)
    with running_server(create_app(settings)) as client:
        client.post("/uncertainty", json={"inputs": [NOISE]}).raise_for_status()
        wait_until(lambda: bool(client.get("/v1/review").json()["rows"]))
        yield str(client.base_url)


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A folder in which npm's programs are found."""
    (tmp_path / "node_modules").symlink_to(Path(NODE or "") / "node_modules")
    shutil.copy(Path(__file__).with_name("clients") / "package.json", tmp_path)
    return tmp_path


def run(folder: Path, *command: str) -> str:
    """What a command that must succeed prints."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def npx(folder: Path, *command: str) -> str:
    return run(folder, str(folder / "node_modules" / ".bin" / command[0]), *command[1:])


@pytest.mark.skipif(GENERATOR is None, reason="OPENAPI_PYTHON_CLIENT names no program")
def test_python(url: str, tmp_path: Path) -> None:
    """Of the generated code itself mypy says, if strict, that casts are redundant; so it judges the caller's alone."""
    options = ["--meta", "none", "--output-path", "dropserve_client"]
    run(tmp_path, str(GENERATOR), "generate", "--url", f"{url}/openapi.json", *options)
    modules = {file.stem for file in tmp_path.glob("dropserve_client/api/*/*.py")}
    assert modules - {"__init__"} == OPERATIONS
    (tmp_path / "use.py").write_text(at(url, "".join(blocks(PAGE, "python"))))
    run(tmp_path, sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "use.py")
    printed = run(tmp_path, sys.executable, "use.py").splitlines()
    rows = [[0.0] * 64, NOISE]
    sampled = httpx.post(f"{url}/uncertainty", json={"inputs": rows, "samples": 50, "seed": 7}).json()["predictions"]
    assert [line.split()[1] for line in printed[2:4]] == [str(row["mutual_information"]) for row in sampled]
    assert printed[-2:] == ["['digits', 'mnist', 'strength']", "4"]


@needs_node
def test_typescript(url: str, node: Path) -> None:
    npx(node, "openapi-typescript", f"{url}/openapi.json", "--output", "dropserve.d.ts")
    npx(node, "openapi-ts", "--input", f"{url}/openapi.json", "--output", "dropserve-client")
    names = ("types.ts", "functions.ts")
    for name, block in zip(names, blocks(PAGE, "ts"), strict=True):
        (node / name).write_text(at(url, block))
    options = ["--strict", "--noEmit", "--skipLibCheck", "--target", "es2022", "--module", "esnext"]
    npx(node, "tsc", *options, "--moduleResolution", "bundler", *names)
    expected = httpx.post(f"{url}/predict", json={"inputs": [NOISE]}).json()["predictions"][0]["label"]
    for name in names:
        assert npx(node, "tsx", name).startswith(f"{expected} ")


@needs_node
@pytest.mark.parametrize("keys", [False, True])
def test_linters_find_nothing(node: Path, keys: bool) -> None:
    (node / "keys").write_text("alice infer " + "0" * 64 + "\n")
    settings = Settings(models=ROOT / "models", prediction_log=node / "log", api_keys=node / "keys" if keys else None)
    with running_server(create_app(settings)) as client:
        (node / "openapi.json").write_bytes(client.get("/openapi.json").content)
    assert json.loads(npx(node, "redocly", "lint", "openapi.json", "--format=json"))["problems"] == []
    (node / ".spectral.yaml").write_text('extends: ["spectral:oas"]\n')
    assert "No results" in npx(node, "spectral", "lint", "openapi.json", "--fail-severity=hint")
