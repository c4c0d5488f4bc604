"""The pages for people, as a service hands them out; tests/browser uses them."""

import re
import tomllib
from pathlib import Path

import httpx
import pytest

from service.http.ui import PAGES

ROOT = Path(__file__).parents[3]
UI = ROOT / "service" / "ui"
FILES = sorted(path for path in UI.rglob("*") if path.is_file())
NAMES = [str(path.relative_to(UI)) for path in FILES]
ABSOLUTE = re.compile(r"""(?:src|href|url|fetch|from|import)\s*[=(]?\s*["'(]/""")
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@pytest.mark.parametrize("path", [*PAGES, *(f"/ui/{name}" for name in NAMES)])
def test_a_file_is_handed_out_as_it_lies_there(client: httpx.Client, path: str) -> None:
    file = UI / PAGES.get(path, path.removeprefix("/ui/"))
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.content == file.read_bytes()
    assert answer.headers["content-type"].startswith(TYPES[file.suffix])
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(answer.content))


@pytest.mark.parametrize("path", ["/", "/ui/style.css"])
def test_browsers_ask_whether_it_has_changed(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.headers["cache-control"] == "no-cache"
    again = client.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", [*PAGES, "/ui/index.html", "/ui/js/main.js"])
def test_it_runs_no_script_but_its_own(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";"))
    assert policy["script-src"].split() == ["'self'"]
    assert policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_comes_from_elsewhere(name: str) -> None:
    text = (UI / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert "://" not in text
    assert not ABSOLUTE.search(text)
    assert "<script>" not in text


@pytest.mark.parametrize("path", PAGES.values())
def test_every_link_of_a_page_leads_somewhere(client: httpx.Client, path: str) -> None:
    text = (UI / path).read_text(encoding="utf-8")
    for link in re.findall(r'(?:src|href)="([^"#]+)"', text):
        assert client.get(f"/{link.removeprefix('./')}").status_code == 200, link


@pytest.mark.parametrize("path", ["/ui/", "/ui", "/ui/nothing.js", "/ui/js", "/ui/../pages.py", "/ui/%2e%2e/config.py"])
def test_what_is_no_page_is_not_there(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "unknown_path"


def test_the_wheel_has_every_file() -> None:
    """By the patterns that setuptools packs it with."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["service"]
    packed = {file for pattern in patterns for file in (ROOT / "service").glob(pattern)}
    assert set(FILES) <= packed
