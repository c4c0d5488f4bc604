"""A service in a process of its own, on a free port."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def serving(models: Path, model: str) -> Iterator[int]:
    """Serves these models; the port, once `name/version` is loaded."""
    command = [sys.executable, "-m", "service", "serve", "--models", str(models), "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        try:
            yield _find_port(process, model)
        finally:
            process.terminate()


def _find_port(process: subprocess.Popen[str], model: str) -> int:
    """Where the service says it listens, once it says that the model is loaded too; raises SystemExit if it ends."""
    assert process.stderr is not None
    port, loaded, said = 0, False, ""
    for line in process.stderr:
        said += line
        if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
            port = int(found[1])
        loaded |= "model loaded" in line and model in line
        if port and loaded:
            return port
    raise SystemExit(said)
