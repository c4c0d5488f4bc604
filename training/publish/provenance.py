"""Where a model comes from: the moment, the libraries, the commit."""

import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version

LIBRARIES = ("torch", "onnx", "onnxruntime", "numpy", "scikit-learn")


def now() -> str:
    """ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def libraries() -> dict[str, str]:
    """Versions of Python and of what computes the weights and the graphs."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def git_commit() -> str | None:
    """The commit that the current folder is at, with `-dirty` when tracked files were changed since; else None."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no user input in it
    return found.stdout.strip() or None
