"""What a model has for people to read: which bytes are given, to whom, and what a browser may do with them."""

import http.client
import json
import os
import shutil
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from service.access.keys import make_key, needed_scope
from service.api import schemas
from service.http.cards import MAX_PLOT_BYTES, MAX_RENDERED_BYTES, render_card
from service.http.documents import HARMLESS, prefers_html
from service.model.manifest import read_manifest, sha256, write_manifest
from service.repository.documents import BEHAVIOUR, CARD, MAX_DOCUMENT_BYTES, Documents
from tests.conftest import Serve
from tests.service.conftest import refusal
from tests.toy import ToyNet

PLOT = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script><circle r="1"/></svg>'
TEXT = """# toy

<script>alert(1)</script> and [a link](javascript:alert(1)).

| figure | value |
| --- | --- |
| accuracy | 0.9 |

![Its plot](plot.svg) ![Of another site](https://example.org/x.svg) ![No plot](golden.npz)
"""
REPORT = b"<!doctype html><title>What dropout does</title>"
PAGE = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def publish(models: Path, version: int, **files: bytes) -> Path:
    """The toy with more files, which its manifest names; `a_b` is the file `a.b`."""
    folder = ToyNet(seed=version).publish(models, version=version)
    named = {name.replace("_", ".") if name != "card" else CARD: content for name, content in files.items()}
    for name, content in named.items():
        (folder / name).write_bytes(content)
    manifest = read_manifest(folder)
    listed = {**manifest.files, **{name: sha256(content) for name, content in named.items()}}
    write_manifest(manifest.model_copy(update={"files": listed}), folder)
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """toy/1 has a card and a plot, and toy/2, which answers by default, others; a report lies beside toy/2 only."""
    folder = tmp_path / "models"
    publish(folder, 1, card=b"# one", plot_svg=b"<svg/>")
    (publish(folder, 2, card=TEXT.encode(), plot_svg=PLOT) / BEHAVIOUR).write_bytes(REPORT)
    ToyNet().publish(folder, name="bare")
    return folder


class Page(HTMLParser):
    """The tags of a page, with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize(
    ("path", "kind", "content"),
    [
        ("card", "text/markdown; charset=utf-8", TEXT.encode()),
        ("plots/plot.svg", "image/svg+xml", PLOT),
        ("behaviour", "text/html; charset=utf-8", REPORT),
        ("versions/2/card", "text/markdown; charset=utf-8", TEXT.encode()),
        ("versions/2/behaviour", "text/html; charset=utf-8", REPORT),
        ("versions/1/card", "text/markdown; charset=utf-8", b"# one"),
        ("versions/1/plots/plot.svg", "image/svg+xml", b"<svg/>"),
    ],
)
def test_the_files_of_a_version_are_given_as_they_are(own: httpx.Client, path: str, kind: str, content: bytes) -> None:
    answer = own.get(f"/models/toy/{path}")
    assert answer.status_code == 200
    assert answer.content == content
    assert answer.headers["content-type"] == kind


@pytest.mark.parametrize("path", ["card", "plots/plot.svg", "behaviour"])
def test_a_browser_runs_nothing_of_them_and_fetches_nothing(own: httpx.Client, path: str) -> None:
    for headers in ({}, PAGE):
        answer = own.get(f"/models/toy/{path}", headers=headers)
        assert answer.status_code == 200
        assert {name: answer.headers[name] for name in HARMLESS} == HARMLESS
        policy = dict(rule.strip().partition(" ")[::2] for rule in answer.headers["content-security-policy"].split(";"))
        assert policy["sandbox"] == ""
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert not any(kind in policy for kind in ("script-src", "connect-src", "frame-src"))


def test_a_card_is_a_page_for_a_browser(own: httpx.Client) -> None:
    answer = own.get("/models/toy/card", headers=PAGE)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["vary"] == "accept"
    tags = Page(answer.text).tags
    assert {"h1", "table", "td"} <= {tag for tag, _ in tags}
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text
    assert not [tag for tag, _ in tags if tag in ("script", "a")]
    sources = [attributes["src"] for tag, attributes in tags if tag == "img"]
    assert sources[0] is not None
    assert sources[0].startswith("data:image/svg+xml;base64,")
    assert sources[1:] == ["", ""]


def test_what_scrolls_does_so_by_keyboard_and_a_plot_is_in_the_page_once(tmp_path: Path) -> None:
    card = b"```\ncode\n```\n\n| a |\n| --- |\n| 1 |\n\n" + b"![Its plot](plot.svg)\n" * 3
    folder = publish(tmp_path, 1, card=card, plot_svg=PLOT)
    page = render_card(Documents(folder, read_manifest(folder))).decode()
    scrolling = [attributes for tag, attributes in Page(page).tags if tag in ("pre", "div")]
    assert [(attributes["tabindex"], attributes["role"]) for attributes in scrolling] == [("0", "region")] * 2
    assert all(attributes["aria-label"] for attributes in scrolling)
    assert page.count("data:image/svg+xml") == 1


def test_a_long_card_is_plain_text_and_few_plots_are_in_a_page(tmp_path: Path) -> None:
    long = b"| a | b |\n" * (MAX_RENDERED_BYTES // 10 + 1)
    folder = publish(tmp_path, 1, card=b"<b>\n" + long)
    page = render_card(Documents(folder, read_manifest(folder))).decode()
    assert {tag for tag, _ in Page(page).tags}.isdisjoint({"table", "b"})
    assert long.decode() in page
    big = b"<svg>" + b" " * (MAX_PLOT_BYTES // 2)
    folder = publish(tmp_path, 2, card=b"![](a.svg) ![](b.svg)", a_svg=big, b_svg=big)
    page = render_card(Documents(folder, read_manifest(folder))).decode()
    assert page.count("data:image/svg+xml") == 1


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("", False),
        ("*/*", False),
        ("text/*", False),
        ("text/markdown", False),
        ("text/html", True),
        ("TEXT/HTML; charset=utf-8", True),
        (PAGE["accept"], True),
        ("text/markdown, text/html", False),
        ("text/markdown;q=0.5, text/html;q=0.9", True),
        ("text/html;q=0.5, text/markdown", False),
        ("text/html;q=0", False),
        ("text/html;q=much", False),
        (";;,,q=1", False),
    ],
)
def test_who_would_rather_have_html(accept: str, html: bool) -> None:
    assert prefers_html(accept) is html


def test_what_there_is_is_listed(own: httpx.Client) -> None:
    def listed(path: str) -> dict[str, object]:
        answer = own.get(f"/models/{path}/files")
        assert answer.status_code == 200
        return schemas.ModelFiles.model_validate_json(answer.content, strict=True).model_dump(exclude={"model"})

    assert listed("toy") == {"version": 2, "card": True, "behaviour": True, "plots": ["plot.svg"]}
    assert listed("toy/versions/1") == {"version": 1, "card": True, "behaviour": False, "plots": ["plot.svg"]}
    assert listed("bare") == {"version": 1, "card": False, "behaviour": False, "plots": []}


def test_a_missing_document_is_refused_with_the_reason(own: httpx.Client) -> None:
    assert "published without MODEL_CARD.md" in refusal(own.get("/models/bare/card"), 404, "unknown_file")
    assert "published without MODEL_CARD.md" in refusal(own.get("/models/bare/card", headers=PAGE), 404, "unknown_file")
    assert "its plots: none" in refusal(own.get("/models/bare/plots/plot.svg"), 404, "unknown_file")
    assert "dropserve behaviour" in refusal(own.get("/models/toy/versions/1/behaviour"), 404, "unknown_file")
    assert "known models: bare, toy" in refusal(own.get("/models/nope/card"), 404, "unknown_model")
    assert "known versions: 1, 2" in refusal(own.get("/models/toy/versions/7/card"), 404, "unknown_model")
    refusal(own.get("/models/toy/versions/one/card"), 422, "invalid_input")
    refusal(own.get("/models/toy/versions/0/card"), 422, "invalid_input")


def test_a_report_written_later_is_shown_at_once(own: httpx.Client, models: Path) -> None:
    assert own.get("/models/bare/behaviour").status_code == 404
    (models / "bare" / "1" / BEHAVIOUR).write_bytes(REPORT)
    assert own.get("/models/bare/behaviour").content == REPORT
    assert own.get("/models/bare/files").json()["behaviour"] is True


@pytest.mark.parametrize(("path", "file"), [("card", CARD), ("plots/plot.svg", "plot.svg")])
def test_what_was_changed_since_it_was_verified_is_not_shown(
    own: httpx.Client, models: Path, path: str, file: str
) -> None:
    (models / "toy" / "2" / file).write_bytes(b"<svg>another</svg>")
    for headers in ({}, PAGE):
        message = refusal(own.get(f"/models/toy/{path}", headers=headers), 503, "not_ready")
        assert message.startswith(f"toy/2: {file} cannot be shown: it differs from the published file")
        assert str(models) not in message
    (models / "toy" / "2" / file).unlink()
    refusal(own.get(f"/models/toy/{path}"), 503, "not_ready")


def test_a_report_that_is_listed_is_verified_like_the_rest(serve: Serve, tmp_path: Path) -> None:
    folder = publish(tmp_path, 1, behaviour_html=REPORT)
    with serve(models=tmp_path, watch=False) as client:
        assert client.get("/models/toy/behaviour").content == REPORT
        (folder / BEHAVIOUR).write_bytes(b"<p>another")
        refusal(client.get("/models/toy/behaviour"), 503, "not_ready")


def test_a_report_is_a_plain_file_of_some_size(own: httpx.Client, models: Path) -> None:
    report = models / "toy" / "2" / BEHAVIOUR
    with report.open("wb") as file:
        file.truncate(MAX_DOCUMENT_BYTES + 1)
    assert "at most" in refusal(own.get("/models/toy/behaviour"), 503, "not_ready")
    report.unlink()
    os.mkfifo(report)  # to open it would wait for ever
    refusal(own.get("/models/toy/behaviour"), 503, "not_ready")
    report.unlink()
    report.mkdir()
    refusal(own.get("/models/toy/behaviour"), 503, "not_ready")


def test_what_does_not_serve_shows_nothing(own: httpx.Client, models: Path) -> None:
    assert own.post("/v1/models/toy/versions/2/unload").status_code == 200
    assert own.get("/models/toy/card").text == "# one"
    assert "unloaded" in refusal(own.get("/models/toy/versions/2/card"), 503, "not_ready")
    damaged = publish(models, 3, card=b"# three")
    (damaged / "predict.onnx").write_bytes(b"damaged")
    assert own.post("/v1/models/refresh").status_code == 200
    assert "is damaged" in refusal(own.get("/models/toy/versions/3/card"), 503, "not_ready")
    shutil.rmtree(models)
    refusal(own.get("/models/toy/card"), 503, "not_ready")


PATHS = ["card", "behaviour", "plots/plot.svg", "files"]
TRICKS = [
    "toy/plots/manifest.json",
    "toy/plots/predict.onnx",
    "toy/plots/MODEL_CARD.md",
    "toy/plots/behaviour.html",
    "toy/plots/..",
    "toy/plots/.",
    "toy/plots/",
    "toy/plots",
    "toy/plots/../plot.svg",
    "toy/plots/../../1/plot.svg",
    "toy/plots/..%2f..%2f1%2fplot.svg",
    "toy/plots/%2e%2e%2fplot.svg",
    "toy/plots/..%5cplot.svg",
    "toy/plots/%2fetc%2fpasswd",
    "toy/plots//etc/passwd",
    "toy/plots/plot.svg%00",
    "toy/plots/plot.svg%00.png",
    "toy/plots/plot.svg%0a",
    "toy/plots/plot.svg%20",
    "toy/plots/PLOT.SVG",
    "toy/plots/secret.svg",
    "toy/plots/linked.svg",
    "toy/plots/%ff.svg",
    "toy/plots/" + "a" * 3000 + ".svg",
    "toy/manifest.json",
    "toy/golden.npz",
    "toy/behaviour.html",
    "toy/behaviour/",
    "toy/card/..%2fmanifest.json",
    "..%2fmodels%2ftoy/card",
    "%2e%2e/card",
    "toy%2f2/card",
    "toy%00/card",
    "toy/versions/2%2f..%2f1/card",
    "toy/versions/02/card/",
    "toy/versions/%32%00/card",
]


def test_no_path_leads_to_another_file(own: httpx.Client, models: Path, tmp_path: Path) -> None:
    """Sent as they are: a client would tidy such a path."""
    (models / "toy" / "2" / "secret.svg").write_bytes(b"<svg>secret</svg>")
    (tmp_path / "secret").write_bytes(b"secret")
    (models / "toy" / "2" / "linked.svg").symlink_to(tmp_path / "secret")
    for path in TRICKS:
        with closing(http.client.HTTPConnection(own.base_url.host, own.base_url.port or 80)) as connection:
            connection.request("GET", f"/models/{path}")
            answer = connection.getresponse()
            assert answer.status == 404, path
            assert answer.getheader("content-type") == "application/json"
            assert json.loads(answer.read())["error"]["code"].startswith("unknown_"), path


def test_a_version_below_zero_is_no_version(own: httpx.Client) -> None:
    refusal(own.get("/models/toy/versions/-1/card"), 422, "invalid_input")


def test_they_are_only_read(own: httpx.Client) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        for path in PATHS:
            refusal(own.request(method, f"/models/toy/{path}"), 405, "method_not_allowed")


def test_documents_need_the_scope_infer(serve: Serve, models: Path, tmp_path: Path) -> None:
    secret, key = make_key("alice", "infer")
    (tmp_path / "keys").write_text(key.line() + "\n")
    with serve(models=models, api_keys=tmp_path / "keys", watch=False) as client:
        for path in PATHS:
            for place in (f"/models/toy/{path}", f"/models/toy/versions/2/{path}"):
                refusal(client.get(place), 401, "unauthenticated")
                assert client.get(place, headers={"x-api-key": secret}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/models/toy", "/models/toy/", "/models/toy/card/x", "/models/toy/plots/a/b", "/models"]
)
def test_what_is_beside_them_needs_all(path: str) -> None:
    assert needed_scope(path) == "admin"


def test_they_are_described(own: httpx.Client) -> None:
    paths = own.get("/openapi.json").json()["paths"]
    for place in ("/models/{name}", "/models/{name}/versions/{version}"):
        for path in ("files", "behaviour", "card", "plots/{file}"):
            operation = paths[f"{place}/{path}"]["get"]
            assert operation["tags"] == ["files"]
            assert operation["description"]
            assert {"200", "404", "503"} <= set(operation["responses"])
        assert set(paths[f"{place}/card"]["get"]["responses"]["200"]["content"]) == {"text/markdown", "text/html"}
        assert set(paths[f"{place}/behaviour"]["get"]["responses"]["200"]["content"]) == {"text/html"}
        assert set(paths[f"{place}/plots/{{file}}"]["get"]["responses"]["200"]["content"]) == {"image/svg+xml"}
