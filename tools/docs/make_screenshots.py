"""Take the pictures in docs/screenshots of a real service's pages, in a real browser.

`python -m tools.docs.make_screenshots` (needs the test extra, and Chromium or Chrome)
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import typer
from PIL import Image
from playwright.sync_api import Browser, Page

from benchmarks.browser import open_browser
from benchmarks.local_service import serve

HERE = Path(__file__).parents[2] / "docs"
COLOURS = (256, 128, 64)
MAX_BYTES = 250_000
MAX_HEIGHT = 2300
"""The height of a picture; the beginning of a long page is enough."""
MODEL = "digits"

Scheme = Literal["light", "dark"]


class View(NamedTuple):
    """A window, in CSS pixels."""

    width: int
    height: int
    scheme: Scheme = "light"
    scale: float = 1


DESK, DARK, PHONE = View(1440, 900), View(1440, 900, "dark"), View(390, 844, scale=2)


def main(
    out: Annotated[Path, typer.Option(help="Folder of the pictures.")] = HERE / "screenshots",
    models: Annotated[Path, typer.Option(help="Folder of the models, with digits.")] = HERE.parent / "models",
) -> None:
    """Take all pictures."""
    out.mkdir(parents=True, exist_ok=True)
    with serve(models) as url, open_browser() as browser:
        for name, view in (("playground", DESK), ("playground_dark", DARK), ("playground_phone", PHONE)):
            with opened(browser, url, view) as page:
                play(page)
                save(page, out / f"{name}.png", full=view is not PHONE)
        for name, view in (("status", DESK), ("status_dark", DARK)):
            with opened(browser, f"{url}/status", view) as page:
                keep_busy(page, url)
                save(page, out / f"{name}.png")
        with opened(browser, f"{url}/models/{MODEL}/behaviour", DESK) as page:
            if "unknown_file" in page.content():
                typer.echo(f"no behaviour report: dropserve behaviour --model {models / MODEL}/1 makes one")
            else:
                save(page, out / "behaviour.png", full=False)


@contextmanager
def opened(browser: Browser, url: str, view: View) -> Iterator[Page]:
    """Open a page."""
    context = browser.new_context(
        viewport={"width": view.width, "height": view.height}, color_scheme=view.scheme, device_scale_factor=view.scale
    )
    page = context.new_page()
    page.goto(url)
    yield page
    context.close()


def play(page: Page) -> None:
    """Rotate a digit until the samples disagree."""
    settled = page.locator("#answer[aria-busy=false]")
    settled.wait_for()
    turn = page.get_by_label("Turn", exact=True)
    turn.fill("40")
    turn.blur()
    page.wait_for_timeout(500)
    settled.wait_for()


def keep_busy(page: Page, url: str) -> None:
    """Send requests for half a minute: upright and rotated digits, and sometimes an invalid one."""
    rows = np.array(page.request.get(f"{url}/v1/models/{MODEL}/examples").json()["inputs"])
    turned = np.rot90(rows.reshape(-1, 8, 8), axes=(1, 2)).reshape(rows.shape)
    rng = np.random.default_rng(0)
    for second in range(30):
        for _ in range(int(8 + 5 * np.sin(second / 4) + rng.integers(0, 4))):
            chosen = rng.permutation(np.concatenate([rows, turned[:2]]))[: rng.integers(1, 5)]
            post(page, f"{url}/{rng.choice(['predict', 'uncertainty'])}", {"inputs": chosen.tolist()})
        if second % 7 == 0:
            post(page, f"{url}/predict", {"inputs": [[1, 2, 3]]})
        page.wait_for_timeout(900)


def post(page: Page, url: str, body: dict[str, Any]) -> None:
    """Send a request, whose reply is ignored."""
    page.request.post(url, data=json.dumps(body), headers={"content-type": "application/json"})


def save(page: Page, file: Path, *, full: bool = True) -> None:
    """Save with few colours, which are enough for a page, in a third of the size."""
    picture = Image.open(BytesIO(page.screenshot(full_page=full))).convert("RGB")
    picture = picture.crop((0, 0, picture.width, min(picture.height, MAX_HEIGHT)))
    for colours in COLOURS:
        picture.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(file, optimize=True)
        if file.stat().st_size < MAX_BYTES:
            break
    typer.echo(f"{file.name}: {picture.width} × {picture.height}, {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    typer.run(main)
