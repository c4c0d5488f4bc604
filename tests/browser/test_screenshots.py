"""The command that takes the pictures of the documentation."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from service.repository.documents import BEHAVIOUR
from tests.browser.conftest import ROOT

EXPECTED = {
    "playground.png": 1440,
    "playground_dark.png": 1440,
    "playground_phone.png": 780,
    "status.png": 1440,
    "status_dark.png": 1440,
    "behaviour.png": 1440,
}
REPORT = "<!doctype html><title>report</title><h1>What dropout does</h1>" + "".join(
    f'<p style="color:hsl({i * 12},80%,40%)">measured</p>' for i in range(30)
)


@pytest.mark.slow
@pytest.mark.usefixtures("browser")  # skips, or fails, where there is none
def test_all_pictures_are_taken_and_show_something(tmp_path: Path) -> None:
    models = shutil.copytree(ROOT / "models", tmp_path / "models")
    (models / "digits" / "1" / BEHAVIOUR).write_text(REPORT)
    out = tmp_path / "pictures"
    command = [sys.executable, "-m", "tools.docs.make_screenshots", "--out", str(out), "--models", str(models)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    assert {file.name for file in out.iterdir()} == set(EXPECTED)
    for name, width in EXPECTED.items():
        assert (out / name).stat().st_size < 250_000
        with Image.open(out / name) as picture:
            assert picture.width == width
            colours = picture.convert("RGB").getcolors(2**24)
            assert colours
            most = max(count for count, _ in colours)
            assert len(colours) > 20, name
            assert most < 0.995 * picture.width * picture.height, name  # a blank page is of one colour


def test_the_pictures_in_the_documentation_are_there() -> None:
    text = (ROOT / "docs" / "playground.md").read_text(encoding="utf-8")
    for name in EXPECTED:
        assert f"screenshots/{name}" in text
