"""Move a slider in a real browser, and count the answers shown."""

from typing import NamedTuple

from playwright.sync_api import Browser, Page

MOVE = """async ([label, seconds]) => {
    const slider = [...document.querySelectorAll("label")].find((one) => one.textContent === label).control;
    let answers = 0;
    let frames = 0;
    const count = () => (answers += 1);
    document.addEventListener("answered", count);
    const start = performance.now();
    while (performance.now() - start < 1000 * seconds) {
        slider.value = Number(slider.max) * ((frames % 240) / 240);
        slider.dispatchEvent(new Event("input"));
        frames += 1;
        await new Promise(requestAnimationFrame);
    }
    const taken = (performance.now() - start) / 1000;
    document.removeEventListener("answered", count);
    return [answers / taken, frames / taken];
}"""
"""Move the slider at each frame, as a hand does; return answers and frames a second."""


class Rate(NamedTuple):
    """Rates while a slider moved."""

    slider: str
    networks: int
    answers_per_second: float
    frames_per_second: float
    """The browser's own rate, which bounds that of answers."""


def open_playground(browser: Browser, url: str) -> Page:
    """Return the page once it has answered."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(url)
    page.wait_for_selector("#answer[aria-busy=false]")
    return page


def move(page: Page, slider: str, networks: int, seconds: float) -> Rate:
    """Measure while this slider moves, with so many samples."""
    page.get_by_label("T, number of samples", exact=True).fill(str(networks))
    page.wait_for_selector("#answer[aria-busy=false]")
    answers, frames = page.evaluate(MOVE, [slider, seconds])
    return Rate(slider, networks, answers, frames)
