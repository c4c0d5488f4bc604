"""A virtual environment for each server, made once from its requirements."""

import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

from benchmarks.serving.commands import run

PEERS = Path(__file__).parent / "peers"


class Requirements(NamedTuple):
    """Packages to install, and pip's constraints on their versions."""

    packages: list[str]
    constraints: str = ""


def of_peer(peer: str) -> Requirements:
    """Return the pinned packages of a peer."""
    lines = (PEERS / peer / "requirements.txt").read_text().splitlines()
    return Requirements([line for line in lines if not line.startswith("#")])


def of_tree(root: Path) -> Requirements:
    """Return what serving needs in a tree of Dropserve, constrained to the tree's pinned versions."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return Requirements(project["dependencies"], (root / "constraints.txt").read_text())


def install(place: Path, requirements: Requirements) -> Path:
    """Return the interpreter of the environment at `place`, which is made unless it is up to date.

    Raises NotRun if it cannot be installed.
    """
    python, stamp, constraints = place / "bin" / "python", place / "requirements.txt", place / "constraints.txt"
    wanted = "\n".join(requirements.packages)
    if stamp.is_file() and (stamp.read_text(), constraints.read_text()) == (wanted, requirements.constraints):
        return python.absolute()
    name = f"the environment of {place.name}"
    run(name, sys.executable, "-m", "venv", "--clear", str(place))
    constraints.write_text(requirements.constraints)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", "-c", str(constraints)]
    run(name, *pip, *requirements.packages)
    stamp.write_text(wanted)
    return python.absolute()
