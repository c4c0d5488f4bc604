"""What keeps people out of a page, as axe finds it."""

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


def barriers(page: Page) -> list[dict[str, Any]]:
    """Serious and critical ones."""
    return [one for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]
