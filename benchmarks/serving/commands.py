"""Run the commands that prepare a measurement."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from benchmarks.serving.failures import NotRun

NOTHING: Mapping[str, str] = MappingProxyType({})


def run(what: str, *command: str, folder: Path | None = None, variables: Mapping[str, str] = NOTHING) -> str:
    """Return what a command prints; raise NotRun, which names what it makes, if it fails."""
    # Packages on a PYTHONPATH would count as installed.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | {**variables}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise NotRun(f"{what} cannot be made: {last[0]}")
    return done.stdout
