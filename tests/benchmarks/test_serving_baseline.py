"""The build of another commit, and the environments of servers."""

import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.serving.baseline import check_out, short_hash
from benchmarks.serving.environments import Requirements, install
from benchmarks.serving.failures import NotRun


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose commits, tagged 1 and 2, have their number in a file."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    for number in "12":
        (folder / "file").write_text(number)
        git(folder, "add", "file")
        git(folder, "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "--quiet", "-m", number)
        git(folder, "tag", number)
    return folder


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_a_tree_follows_the_commit_it_is_for(repository: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for commit in ("1", "2", "1"):
        check_out(repository, commit, tree)
        assert (tree / "file").read_text() == commit
    (tree / "file").write_text("changed")
    check_out(repository, "1", tree)
    assert (tree / "file").read_text() == "1"
    assert (repository / "file").read_text() == "2"


def test_a_deleted_tree_is_made_again(repository: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    check_out(repository, "1", tree)
    shutil.rmtree(tree)
    check_out(repository, "2", tree)
    assert (tree / "file").read_text() == "2"


def test_a_commit_is_called_by_its_first_digits(repository: Path) -> None:
    assert git(repository, "rev-parse", "1").startswith(short_hash(repository, "1"))
    with pytest.raises(NotRun, match="the build of 3 cannot be made: fatal: "):
        short_hash(repository, "3")


def test_an_environment_is_made_once_for_the_same_requirements(tmp_path: Path) -> None:
    present = Requirements(["pip"])  # every environment has it, so nothing is downloaded
    python = install(tmp_path / "place", present)
    assert python == tmp_path / "place" / "bin" / "python"
    (mark := tmp_path / "place" / "mark").touch()
    install(tmp_path / "place", present)
    assert mark.exists()
    install(tmp_path / "place", present._replace(constraints="absent==1"))
    assert not mark.exists()
