"""The install lines of the documents and messages: they run as they stand, and leave an editable install editable."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from service.extras import remedy, this_python

ROOT = Path(__file__).parents[1]
# docs/clients.md speaks of a caller's environment, where Dropserve itself is not installed
DOCUMENTS = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/**/*.md")} - {ROOT / "docs/clients.md"}
)
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
LINE = re.compile(r"([^\s`(]*pip install [^`\n]*)")
RIGHT = re.compile(r"\.venv/bin/pip install -e '\.\[(\w+)\]' -c constraints\.txt")


def lines() -> list[str]:
    found = [line.strip() for file in DOCUMENTS for line in LINE.findall(file.read_text(encoding="utf-8"))]
    assert len(found) >= 9
    return found


def test_every_line_of_the_documents_is_editable_and_pinned_and_of_an_extra_that_there_is() -> None:
    for line in lines():
        match = RIGHT.fullmatch(line)
        assert match, line
        assert match[1] in EXTRAS, line


def test_messages_name_extras_that_there_are() -> None:
    named = {
        extra
        for folder in ("service", "training", "benchmarks")
        for file in ROOT.glob(f"{folder}/**/*.py")
        for extra in re.findall(r"remedy\(['\"](\w+)['\"]\)", file.read_text(encoding="utf-8"))
    }
    assert (
        {"log", "grpc", "score", "ray", "remote", "tracing", "training", "tensorboard", "docs"}
        <= named
        <= EXTRAS.keys()
    )


def test_a_message_names_the_python_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert remedy("log").endswith(f"{sys.executable} -m pip install -e '.[log]' -c constraints.txt")
    monkeypatch.chdir(Path(sys.executable).parents[1])
    called = subprocess.run([*this_python().split(), "-c", "print(1)"], capture_output=True, text=True, check=True)
    assert called.stdout == "1\n"
    assert this_python().startswith("bin/")
