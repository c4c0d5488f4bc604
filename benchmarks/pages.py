"""A service as people run it, and the installed browser: for whatever looks at the pages, here and elsewhere."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
from playwright.sync_api import Browser, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LISTENS = re.compile(r"running on (http://[^\s\"]+)")
PATIENCE = 60.0
LOG_BYTES = 10_000

Found = TypeVar("Found")


def installed_browser() -> str | None:
    """Where the system's browser is, not Playwright's."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """The installed browser, without a window; ends the program where there is none."""
    found = installed_browser()
    if found is None:
        raise SystemExit(f"no browser: install one of {', '.join(BROWSERS)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def serve(models: Path) -> Iterator[str]:
    """A service of its own on a free port, once its models serve; its address."""
    command = [sys.executable, "-m", "service", "serve", "--port", "0", "--models", str(models)]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our own
        try:
            url = _wait_for(lambda: LISTENS.search(os.pread(log.fileno(), LOG_BYTES, 0).decode()), process)[1]
            _wait_for(lambda: httpx.get(f"{url}/readyz").is_success, process)
            yield url
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _wait_for(condition: Callable[[], Found | None], process: "subprocess.Popen[bytes]") -> Found:
    """What it gives, once it gives something."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"the service did not begin within {PATIENCE:g} s, or ended")
        time.sleep(0.05)
    return found
