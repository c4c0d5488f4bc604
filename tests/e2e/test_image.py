"""What the serving image contains, and what its bill of materials says of that."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.e2e.containers import ROOT, require_engine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

MAX_BYTES = 350_000_000
PROGRAMS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
UNWANTED_MODULES = ("torch", "onnx", "sklearn", "pip", "setuptools", "ensurepip", "pytest", "training", "tests", "test")
UNWANTED_PROGRAMS = ("pip", "apt-get", "perl", "gcc", "cc", "ld", "make", "curl", "wget", "su", "mount")
COPYLEFT = ("GPL", "SSPL", "GENERAL PUBLIC", "EUPL", "CDDL")
"""Marks of licences that ask more of whoever passes the image on than to keep notices and tell of changed files."""


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    require_engine()
    image = _docker("build", "--quiet", "--tag", "dropserve-test-image", str(ROOT)).strip()
    yield image
    _docker("rmi", "dropserve-test-image")


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make sbom` writes."""
    require_engine()
    folder = tmp_path_factory.mktemp("sbom")
    _docker("build", "--target", "sbom", "--output", str(folder), str(ROOT))
    return folder


def test_image_is_small(image: str) -> None:
    assert int(_docker("image", "inspect", "--format", "{{.Size}}", image)) <= MAX_BYTES


def test_image_has_only_what_serving_needs(image: str) -> None:
    code = f"""
import importlib.util, pathlib, shutil
print([name for name in {UNWANTED_MODULES} if importlib.util.find_spec(name)])
print([name for name in {UNWANTED_PROGRAMS} if shutil.which(name, path="{PROGRAMS}")])
print([str(path) for path in pathlib.Path("/venv").glob("lib/*/site-packages/*/**/tests")])
print([str(path) for folder in ("/var/cache", "/var/log", "/var/lib/apt") for path in pathlib.Path(folder).glob("*")])
print([path.name for path in pathlib.Path("/app").iterdir()])
"""
    assert _inside(image, code) == ["[]", "[]", "[]", "[]", "['service']"]


def test_no_program_gives_its_user_another(image: str) -> None:
    code = """
import pathlib, stat
files = (path for top in ("/usr", "/venv", "/app", "/etc", "/var") for path in pathlib.Path(top).rglob("*"))
print([str(path) for path in files if path.is_file() and path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)])
"""
    assert _inside(image, code) == ["[]"]


def test_what_starts_is_compiled(image: str) -> None:
    """Nothing could be compiled for the next start, as all is read-only."""
    code = """
import sys
from pathlib import Path
import service.__main__, service.http.process, service.http.supervisor, uvicorn.lifespan.on, uvicorn.loops.uvloop
import markdown_it, service.http.openapi.document, service.http.site  # imported when first used
names = {name: module.__cached__ for name, module in sys.modules.items() if getattr(module, "__cached__", None)}
print(len(names) > 500, sorted(name for name, file in names.items() if not Path(file).exists()))
"""
    assert _inside(image, code) == ["True []"]


def test_authorities_of_certificates_are_known(image: str) -> None:
    code = "import os, ssl; print(len(os.listdir(ssl.get_default_verify_paths().capath)) > 100)"
    assert _inside(image, code) == ["True"]


def test_bill_is_that_of_the_image(image: str, bill: Path) -> None:
    components = json.loads((bill / "sbom.cdx.json").read_text())["components"]
    code = """
from importlib.metadata import distributions
print(*sorted(f"{one.name} {one.version}" for one in distributions()), sep="\\n")
"""
    assert sorted(f"{one['name']} {one['version']}" for one in components) == _inside(image, code)
    listed = _docker("run", "--rm", "--entrypoint", "dpkg-query", image, "--show").splitlines()
    assert [line.split(":")[0].split("\t")[0] for line in listed] == [
        line.split("\t")[0] for line in (bill / "debian.tsv").read_text().splitlines()
    ]


def test_bill_is_cyclonedx(bill: Path) -> None:
    text = (bill / "sbom.cdx.json").read_text()
    version = SchemaVersion.from_version(json.loads(text)["specVersion"])
    assert JsonStrictValidator(version).validate_str(text) is None


def test_licences_are_known_and_none_is_strong_copyleft(bill: Path) -> None:
    lines = [line.split("\t") for line in (bill / "licences.tsv").read_text().splitlines()]
    assert len(lines) > 50
    assert [line for line in lines if line[2] == "UNKNOWN"] == []
    assert [line for line in lines if any(mark in line[2].upper() for mark in COPYLEFT)] == []


def _inside(image: str, code: str) -> list[str]:
    """What Python prints in a container of the image."""
    return _docker("run", "--rm", "--read-only", "--entrypoint", "python", image, "-c", code).splitlines()


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
