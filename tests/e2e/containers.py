"""Docker Compose for tests: a project of its own, removed afterwards with its images."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

ROOT = Path(__file__).parents[2]
REQUIRED = bool(os.environ.get("REQUIRE_DOCKER"))
"""Set where an engine must be there, so that the tests fail without one instead of being skipped."""

WHEELS = """
services:
  training:
    build:
      additional_contexts: {wheels: %s}
"""


class Project:
    """The repository's compose file, with a folder of models of the test's own."""

    def __init__(self, models: Path, scratch: Path, **settings: str) -> None:
        self.name = f"dropserve-test-{uuid4().hex[:8]}"
        self._env = os.environ | {"DROPSERVE_MODELS": str(models), "DROPSERVE_PORT": "0"} | settings
        self._files = [ROOT / "docker-compose.yml", *_with_own_wheels(scratch)]

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`docker compose`, with its output."""
        files = [part for file in self._files for part in ("--file", str(file))]
        command = ["docker", "compose", "--project-name", self.name, "--project-directory", str(ROOT), *files]
        done = subprocess.run([*command, *arguments], env=self._env, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done

    def inside(self, code: str) -> subprocess.CompletedProcess[str]:
        """Python in the container of the service, beside the service."""
        return self.compose("exec", "-T", "dropserve", "python", "-c", code, check=False)

    def client(self, scheme: str = "http") -> httpx.Client:
        """Of the service; whoever signed its certificate."""
        return httpx.Client(base_url=f"{scheme}://{self.address(8000)}", timeout=30, verify=False)

    def address(self, port: int) -> str:
        """Where the port of the container is on this machine."""
        return self.compose("port", "dropserve", str(port)).stdout.strip()

    def container(self) -> str:
        """The id of the service's container, running or not."""
        return self.compose("ps", "--all", "--quiet", "dropserve").stdout.strip()


@contextmanager
def project(models: Path, scratch: Path, **settings: str) -> Iterator[Project]:
    """A project, of which nothing is left afterwards but the build cache."""
    one = Project(models, scratch, **settings)
    try:
        yield one
    finally:
        everything = ("--rmi", "local", "--volumes", "--remove-orphans", "--timeout", "1")
        one.compose("--profile", "training", "down", *everything)


def require_engine() -> None:
    """Skip the test without an engine, or let it fail where there must be one."""
    if REQUIRED:
        assert _engine_runs(), "REQUIRE_DOCKER is set, and there is no Docker engine with compose"
    elif not _engine_runs():
        pytest.skip("there is no Docker engine with compose")


def _engine_runs() -> bool:
    """Whether there is a Docker engine, and compose."""
    try:
        done = [
            subprocess.run(["docker", *arguments], capture_output=True, timeout=30, check=False)
            for arguments in (["info"], ["compose", "version"])
        ]
    except (OSError, subprocess.TimeoutExpired):
        return False
    return all(one.returncode == 0 for one in done)


def _with_own_wheels(scratch: Path) -> list[Path]:
    """Wheels that pip on this machine is told to find are found by the build too."""
    wheels = Path(os.environ.get("PIP_FIND_LINKS") or "-")
    if not wheels.is_dir():
        return []
    file = scratch / "wheels.yml"
    file.write_text(WHEELS % wheels)
    return [file]
