"""A virtual environment for each peer, made once from its requirements."""

import subprocess
import sys
from pathlib import Path

from benchmarks.serving.failures import NotRun

PEERS = Path(__file__).parent / "peers"


def packages(peer: str) -> list[str]:
    """Return the pinned packages of a peer."""
    lines = _requirements(peer).read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def install(peer: str, folder: Path) -> Path:
    """Return the interpreter of the peer's environment below `folder`, which is made unless it is up to date.

    Raises NotRun if it cannot be installed.
    """
    place = folder / peer
    python, stamp, wanted = place / "bin" / "python", place / "requirements.txt", _requirements(peer)
    if stamp.is_file() and stamp.read_text() == wanted.read_text():
        return python
    _run(peer, sys.executable, "-m", "venv", "--clear", str(place))
    _run(peer, str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", "-r", str(wanted))
    stamp.write_text(wanted.read_text())
    return python


def _requirements(peer: str) -> Path:
    return PEERS / peer / "requirements.txt"


def _run(peer: str, *command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise NotRun(f"{peer} cannot be installed: {last[0]}")
