"""A run overwrites its own files and no other file."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from training.cli import app

QUICK = ("--epochs", "2", "--passes", "4", "--hidden", "8", "--device", "cpu")


def train(tmp_path: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["train", *QUICK, "--models", str(tmp_path / "models"), *map(str, arguments)])


@pytest.mark.parametrize("setting", ["log", "checkpoint"])
def test_data_is_not_overwritten(tmp_path: Path, setting: str) -> None:
    data = tmp_path / "houses.csv"
    content = "size,price\n" + "".join(f"{size / 7:.2f},{size * 13.5}\n" for size in range(40))
    data.write_text(content)
    done = train(tmp_path, "--data", data, "--target", "price", f"--{setting}", data)
    assert done.exit_code == 1
    assert f"{setting}: " in done.output
    assert "name a file that does not exist" in " ".join(done.output.split())
    assert data.read_text() == content


def test_a_run_may_begin_anew_in_its_own_files(tmp_path: Path) -> None:
    files = ("--log", tmp_path / "run.csv", "--checkpoint", tmp_path / "run.pt")
    for version in (1, 2):
        done = train(tmp_path, *files)
        assert done.exit_code == 0, done.output
        assert f"digits/{version}" in done.output
        assert len((tmp_path / "run.csv").read_text().splitlines()) == 3


def test_colons_in_a_message_stay_colons(tmp_path: Path) -> None:
    done = train(tmp_path, "--module", "nowhere:boom")
    assert "module nowhere:boom: cannot be imported" in " ".join(done.output.split())
