"""Optional packages: what to type where they are missing."""

import shlex
import sys
from pathlib import Path


def this_python() -> str:
    """Return how a shell in the working directory calls the Python that runs this."""
    python = Path(sys.executable)
    return shlex.quote(str(python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python))


def remedy(extra: str) -> str:
    """Return the command that installs an extra; an editable install stays one."""
    return f"in the repository's folder: {this_python()} -m pip install -e '.[{extra}]' -c constraints.txt"
