"""The code in README and docs does what it says, against a service of the committed models."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.config import Settings
from service.http.app import create_app
from tests.conftest import running_server

ROOT = Path(__file__).parents[2]
SERVER = re.compile(r"(http://)?(127\.0\.0\.1|localhost):8000")
PAGES = [
    "README.md",
    *(f"docs/{page}.md" for page in ("api", "export", "import", "oip")),
    "models/digits/1/MODEL_CARD.md",
]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def commands(page: str) -> list[str]:
    """Each curl of a page, with the lines that its quotes span."""
    return [
        found for block in blocks(page, "sh") for found in re.findall(r"^curl(?:[^'\n]|'[^']*')*", block, re.MULTILINE)
    ]


def at(url: str, text: str) -> str:
    """What is said of port 8000, said of this server."""
    return SERVER.sub(lambda found: (found[1] or "") + httpx.URL(url).netloc.decode(), text)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_server(create_app(Settings(models=ROOT / "models"))) as client:
        yield str(client.base_url)


CURLS = [pytest.param(command, id=f"{page}-{i}") for page in PAGES for i, command in enumerate(commands(page))]


def test_there_is_something_to_run() -> None:
    assert len(CURLS) > 5


@pytest.mark.parametrize("command", CURLS)
def test_curl(url: str, command: str) -> None:
    here = at(url, command)
    done = subprocess.run(["bash", "-c", f"{here} --fail-with-body"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_python(url: str, page: str) -> None:
    """All blocks of a page make one program."""
    program = at(url, "\n".join(blocks(page, "python")))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_the_readmes_row_is_a_four(url: str) -> None:
    body = re.search(r"-d '(.*?)'", commands("README.md")[0], re.DOTALL)
    assert body
    answer = httpx.post(f"{url}/uncertainty", content=body[1], headers={"content-type": "application/json"}).json()
    assert answer["predictions"][0]["label"] == "4"
    assert (answer["samples"], answer["seed"]) == (100, 7)
