"""Pages and states that are seen less often are accessible, too, and fit the window."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from service.access.keys import make_key
from tests.browser.axe import barriers
from tests.browser.conftest import PATIENCE_MS
from tests.browser.playground import Playground
from tests.service.processes import Service, service


@pytest.fixture(params=[(1440, 900, "light"), (390, 844, "dark")], ids=["desk", "phone"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    width, height, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        bypass_csp=True,  # axe is a script
    )
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


@pytest.fixture
def guarded(models: Path, tmp_path: Path) -> Iterator[Service]:
    """A service that asks for keys."""
    (tmp_path / "keys").write_text(make_key("alice", "infer")[1].line())
    with service(tmp_path, "--models", str(models), DROPSERVE_API_KEYS=str(tmp_path / "keys")) as guarded:
        yield guarded


def keeps_nobody_out(page: Page) -> None:
    assert barriers(page) == []
    size: Any = page.viewport_size
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


@pytest.mark.parametrize("link", ["Model card", "Behaviour report"])
def test_the_files_of_a_model(page: Page, url: str, link: str) -> None:
    page.goto(f"{url}/status")
    page.get_by_role("article", name="Model digits", exact=True).get_by_role("link", name=link).click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    keeps_nobody_out(page)


def test_a_regression_also_beside_another(page: Page, url: str) -> None:
    playground = Playground(page, url)
    playground.model("houses")
    playground.press("Pin as A, to compare")
    keeps_nobody_out(page)


def test_what_is_wrong_with_a_question(page: Page, url: str) -> None:
    playground = Playground(page, url)
    playground.model("houses")
    size = page.locator(".field", has_text="size").locator("input[type=number]")
    size.fill("900")  # more than was seen
    playground.settle()
    keeps_nobody_out(page)
    size.fill("")  # the service refuses
    expect(size).to_have_attribute("aria-invalid", "true")
    page.get_by_label("T, number of samples", exact=True).fill("0")  # the page does
    expect(page.locator("#answer-other")).to_be_visible()
    keeps_nobody_out(page)


def test_units_that_are_all_dropped(page: Page, url: str) -> None:
    Playground(page, url).slide("Drop a fraction", 1)
    keeps_nobody_out(page)


@pytest.mark.parametrize("path", ["/", "/status"])
def test_a_service_that_is_away(page: Page, models: Path, tmp_path: Path, path: str) -> None:
    with service(tmp_path, "--models", str(models)) as running:
        page.goto(f"{running.client.base_url}{path}")
        expect(page.get_by_text("digits").first).to_be_attached()
    if path == "/":
        page.get_by_label("Add noise").fill("0.3")
    expect(page.locator("#away")).to_be_visible(timeout=PATIENCE_MS)
    keeps_nobody_out(page)


@pytest.mark.parametrize("path", ["/", "/status"])
def test_the_dialog_for_a_key(page: Page, guarded: Service, path: str) -> None:
    page.goto(f"{guarded.client.base_url}{path}")
    expect(page.get_by_role("dialog")).to_be_visible()
    keeps_nobody_out(page)


def test_the_page_in_place_of_a_file_that_needs_a_key(page: Page, guarded: Service) -> None:
    page.goto(f"{guarded.client.base_url}/models/digits/card")
    expect(page.get_by_role("heading", level=1)).to_contain_text("requires a key")
    keeps_nobody_out(page)
