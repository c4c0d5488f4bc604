"""A real browser, and a real service of a digits classifier, a regression and a classification of a table."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from benchmarks.browser import BROWSERS, installed_browser, open_browser
from tests.service.processes import Service, service
from training.config import TrainConfig
from training.pipeline import run

ROOT = Path(__file__).parents[2]
PATIENCE_MS = 10_000
QUICK = {"epochs": 5, "hidden": (32,), "passes": 8, "device": "cpu"}
TOWNS = np.array(["Bonn", "Land's End", "Trier"])


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Of this package only: while it runs, its thread has an event loop, which other tests could not bear."""
    if installed_browser() is None:
        reason = f"no browser: none of {', '.join(BROWSERS)} is installed"
        pytest.fail(reason) if os.environ.get("REQUIRE_BROWSER") else pytest.skip(reason)
    expect.set_options(timeout=PATIENCE_MS)
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="package")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed digits, house prices (a regression) and towns to live in (classes, one feature a category)."""
    folder = tmp_path_factory.mktemp("tables")
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(ROOT / "models" / "digits", models / "digits")
    rng = np.random.default_rng(0)
    size, age, town = rng.uniform(20, 200, 300), rng.integers(0, 90, 300), rng.integers(0, 3, 300)
    price = 2000 * size - 500 * age + 50_000 * town
    liked = np.where(price > np.median(price), "yes", "no")
    write_table(folder / "houses.csv", {"size": size.round(1), "age": age, "price": price.round()})
    write_table(folder / "towns.csv", {"size": size.round(1), "town": TOWNS[town], "liked": liked})
    for name, target in (("houses", "price"), ("towns", "liked")):
        config = TrainConfig(name=name, data=str(folder / f"{name}.csv"), target=target, models=models, **QUICK)
        run(config, lambda _: None, lambda _: None)
    return models


def write_table(file: Path, columns: dict[str, np.ndarray]) -> None:
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    file.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]), encoding="utf-8")


@pytest.fixture(scope="package")
def running(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("service"), "--models", str(models)) as running:
        yield running


@pytest.fixture(scope="package")
def url(running: Service) -> str:
    return str(running.client.base_url)


class Watched(NamedTuple):
    """A page, and what must not happen on it: a test that expects something of it clears it."""

    page: Page
    complaints: list[str]


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def watched(context: BrowserContext) -> Iterator[Watched]:
    """A page that complains of errors on its console and of requests to elsewhere."""
    page = context.new_page()
    watched = Watched(page, [])
    complain = watched.complaints.append
    page.on("console", lambda said: complain(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complain(str(error)))
    page.on("request", lambda asked: None if stays(asked) else complain(asked.url))
    yield watched
    assert watched.complaints == []


def stays(asked: Request) -> bool:
    """Whether a request goes where its page came from."""
    return asked.is_navigation_request() or urlsplit(asked.url)[:2] == urlsplit(asked.frame.url)[:2]
