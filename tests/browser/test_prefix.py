"""The pages through a proxy that removes a path prefix: nothing that they ask for lies outside it."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest
from playwright.sync_api import Request, expect

from tests.browser.conftest import Watched
from tests.browser.playground import Playground

PREFIX = "/ml"


@pytest.fixture(scope="module")
def below(url: str) -> Iterator[str]:
    """The URL of the service below the prefix; the proxy answers 404 outside of it."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(f"{PREFIX}/"):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name: self.headers[name] for name in ("accept", "content-type") if name in self.headers}
            answer = httpx.request(
                self.command, url + self.path.removeprefix(PREFIX), content=body, headers=headers, timeout=30
            )
            self.send_response(answer.status_code)
            for name in ("content-type", "content-security-policy"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_POST = do_GET  # noqa: N815 - http.server calls it so

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}{PREFIX}/"
        server.shutdown()


@pytest.fixture
def outside(watched: Watched, below: str) -> Iterator[list[str]]:
    """What the page asks for that is not below the prefix."""
    asked: list[str] = []

    def note(request: Request) -> None:
        if not request.url.startswith((below, "data:")):
            asked.append(request.url)

    watched.page.on("request", note)
    yield asked
    assert asked == []


@pytest.mark.usefixtures("outside")
def test_the_playground_and_the_status_page(watched: Watched, below: str) -> None:
    page = watched.page
    assert Playground(page, below).answers()
    page.locator("#request-details summary").click()
    expect(page.locator("#request-text")).to_contain_text(f"{below}v1/models/")
    page.get_by_role("link", name="Status").click()
    expect(page.locator("#ready")).to_have_text("Ready")
    page.get_by_role("link", name="card").first.click()
    expect(page).to_have_url(f"{below}models/digits/versions/1/card")
    expect(page.locator("table").first).to_be_visible()


@pytest.mark.usefixtures("outside")
def test_what_is_documented_can_be_tried_out(watched: Watched, below: str) -> None:
    page = watched.page
    page.goto(f"{below}docs")
    page.locator(".opblock-post").first.click()
    page.get_by_role("button", name="Try it out").click()
    with page.expect_response(lambda response: response.request.method == "POST") as answer:
        page.get_by_role("button", name="Execute").click()
    assert answer.value.url == f"{below}predict"
    assert answer.value.status == 200
