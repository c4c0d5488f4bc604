"""The origin of a model: time, libraries and commit."""

import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version

LIBRARIES = ("torch", "onnx", "onnxruntime", "numpy", "scikit-learn")
"""Libraries whose versions the manifest records."""


def now() -> str:
    """Return the time in UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def libraries() -> dict[str, str]:
    """Return the versions of Python and of the libraries that compute weights and graphs."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def git_commit() -> str | None:
    """Return the commit of the current folder, with `-dirty` after changes to tracked files; None outside a
    repository.
    """
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - without user input
    return found.stdout.strip() or None
