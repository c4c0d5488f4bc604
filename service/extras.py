"""Optional packages, and the command that installs them."""

import shlex
import sys
from pathlib import Path


def this_python() -> str:
    """Return this process's Python for a command in a shell of the working directory."""
    python = Path(sys.executable)
    return shlex.quote(str(python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python))


def remedy(extra: str) -> str:
    """Return the command that installs an extra in the editable install."""
    return f"in the repository's folder: {this_python()} -m pip install -e '.[{extra}]' -c constraints.txt"
