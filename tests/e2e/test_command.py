"""The installed command `dropserve`: what it lists, what it imports, and that it runs from any folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from service import __version__

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "onnx", "onnxruntime", "fastapi", "uvicorn", "sklearn", "pyarrow"}
COMMANDS = ["serve", "key", "check", "predict", "score", "train", "import", "behaviour"]


@pytest.fixture(scope="module", params=["copied", "editable"])
def command(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script that an installation of this code writes, into an environment with the packages of this one."""
    folder = tmp_path_factory.mktemp(request.param)
    source, environment = folder / "source", folder / "venv"
    for name in ("service", "training"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    [packages] = environment.glob("lib/python*/site-packages")
    (packages / "others.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin/python"), "install", "--quiet"]
    options = ["--no-deps", "--no-build-isolation", *(["--editable"] if request.param == "editable" else [])]
    subprocess.run([*pip, *options, source], check=True)
    return environment / "bin/dropserve"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder whose own packages have the names of ours."""
    for name in ("service", "training"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong package')\n")
    return tmp_path


def run(command: Path, folder: Path, *arguments: str | Path) -> tuple[str, set[str]]:
    """What the command prints, and the packages that it imported."""
    program = (
        "import runpy, sys\n"
        f"sys.path[0], sys.argv[:] = {str(command.parent)!r}, {[str(each) for each in (command, *arguments)]!r}\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    python = [str(command.parent / "python"), "-c", program]
    environment = os.environ | {"COLUMNS": "200"}
    done = subprocess.run(python, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    *text, modules = done.stdout.splitlines()
    return "\n".join(text), set(modules.split())


def test_help_lists_the_commands_of_both_packages_and_imports_nothing_heavy(command: Path, elsewhere: Path) -> None:
    text, modules = run(command, elsewhere, "--help")
    assert "Usage: dropserve" in text
    assert all(f" {name} " in text for name in COMMANDS)
    assert not modules & HEAVY


def test_a_command_of_training_imports_nothing_heavy_for_its_help(command: Path, elsewhere: Path) -> None:
    text, modules = run(command, elsewhere, "train", "--help")
    assert "Usage: dropserve train" in text
    assert not modules & HEAVY


def test_a_command_of_the_service_imports_nothing_of_training(command: Path, elsewhere: Path) -> None:
    text, modules = run(command, elsewhere, "check", ROOT / "models/digits/1")
    assert "can be served" in text
    assert not modules & {"training", "torch"}


def test_the_script_itself_runs_from_any_folder(command: Path, elsewhere: Path) -> None:
    done = subprocess.run([command, "--version"], cwd=elsewhere, capture_output=True, text=True, check=True)
    assert done.stdout == f"{__version__}\n"
