"""Run the service as users do, in a process of its own, for clients outside it."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx

LISTENS = re.compile(r"running on (http://[^\s\"]+)")
TIMEOUT = 60.0
"""Seconds to start or stop."""
LOG_BYTES = 10_000

Found = TypeVar("Found")


@contextmanager
def serve(models: Path, **environment: str) -> Iterator[str]:
    """Start a service on a free port; yield its address once its models serve."""
    command = [sys.executable, "-m", "service", "serve", "--port", "0", "--models", str(models)]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | environment)  # noqa: S603 - our own
        try:
            url = _wait_for(lambda: LISTENS.search(os.pread(log.fileno(), LOG_BYTES, 0).decode()), process)[1]
            _wait_for(lambda: httpx.get(f"{url}/readyz").is_success, process)
            yield url
        finally:
            process.terminate()
            process.wait(TIMEOUT)


def _wait_for(condition: Callable[[], Found | None], process: "subprocess.Popen[bytes]") -> Found:
    """Return the condition's value once it is true."""
    end = time.monotonic() + TIMEOUT
    while not (found := condition()):
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"the service did not start within {TIMEOUT:g} s, or exited")
        time.sleep(0.05)
    return found
