"""Install what each server runs on, below build/."""

from pathlib import Path

from benchmarks.serving import subjects
from benchmarks.serving.baseline import check_out
from benchmarks.serving.contenders import BASELINE, OURS
from benchmarks.serving.environments import install, of_peer, of_tree
from benchmarks.serving.servers import ROOT, Installed

ENVIRONMENTS = Path("build/peers")
SUBJECTS = Path("build/serving")
TREE = Path("build/baseline")
"""The worktree of the other commit's build."""


def ours() -> Installed:
    """Install this tree's build, and publish the subjects with it. Raises NotRun."""
    return build(OURS, ROOT)


def baseline(commit: str) -> Installed:
    """Check out another commit, install its build, and publish the subjects with it. Raises NotRun."""
    check_out(ROOT, commit, TREE)
    return build(BASELINE, TREE)


def build(name: str, root: Path) -> Installed:
    """Install the build in a tree, and publish the subjects with its own code, whose format it can read."""
    python = install(ENVIRONMENTS / name, of_tree(root))
    subjects.make(SUBJECTS / name, root)
    return Installed(python, root, SUBJECTS / name)


def peer(name: str) -> Installed:
    """Install a peer, which serves our own subjects. Raises NotRun."""
    return Installed(install(ENVIRONMENTS / name, of_peer(name)), ROOT, SUBJECTS / OURS)
