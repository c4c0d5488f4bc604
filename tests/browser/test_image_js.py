"""What js/image.js does to pictures, run by the browser itself."""

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Watched

SHAPE = [1, 3, 4]
VALUES = list(range(12))


@pytest.fixture
def page(watched: Watched, url: str) -> Page:
    """Any page of the service may load its modules."""
    watched.page.goto(url)
    return watched.page


def call(page: Page, function: str, *arguments: Any) -> list[float]:
    script = "([name, given]) => import('/ui/js/image.js').then((all) => Array.from(all[name](...given)))"
    return [float(value) for value in page.evaluate(script, [function, arguments])]


def test_a_quarter_turn_moves_each_pixel_to_its_place(page: Page) -> None:
    square = [0, 1, 2, 3]  # 0 1 above 2 3, which clockwise is 2 0 above 3 1
    assert call(page, "turn", square, [1, 2, 2], 90, 0) == pytest.approx([2, 0, 3, 1])
    assert call(page, "turn", VALUES, SHAPE, 180, 0) == pytest.approx(VALUES[::-1])
    assert call(page, "turn", VALUES, SHAPE, 360, 0) == VALUES


def test_what_a_turn_leaves_empty_is_ground(page: Page) -> None:
    ones, shape = [1.0] * 81, [1, 9, 9]
    turned = call(page, "turn", ones, shape, 45, 0)
    assert (turned[0], turned[40]) == (0, 1)
    assert call(page, "turn", ones, shape, 45, 1) == pytest.approx(ones)


def test_noise_is_as_wide_as_it_says_and_the_same_for_the_same_seed(page: Page) -> None:
    grey, limits = [50.0] * 10_000, {"low": 0, "high": 100}
    noisy = call(page, "addNoise", grey, 0.1, 1, limits)
    mean = sum(noisy) / len(noisy)
    assert mean == pytest.approx(50, abs=0.5)
    assert (sum((value - mean) ** 2 for value in noisy) / len(noisy)) ** 0.5 == pytest.approx(10, rel=0.05)
    assert call(page, "addNoise", grey, 0.1, 1, limits) == noisy
    assert call(page, "addNoise", grey, 0.1, 2, limits) != noisy
    assert call(page, "addNoise", grey, 0, 1, limits) == grey
    wild = call(page, "addNoise", grey, 5, 1, limits)
    assert (min(wild), max(wild)) == (0, 100)


def test_a_larger_share_drops_the_same_pixels_and_more(page: Page) -> None:
    ones = [1.0] * 24  # two channels of 12 pixels
    dropped = [call(page, "dropPixels", ones, [2, 3, 4], share, 7, 0) for share in (0, 0.25, 0.5, 1)]
    assert [left.count(0) for left in dropped] == [0, 6, 12, 24]
    gone = [{i for i, value in enumerate(left) if value == 0} for left in dropped]
    assert gone[0] < gone[1] < gone[2] < gone[3]
    assert all(left[:12] == left[12:] for left in dropped)


def test_a_shuffle_has_each_number_once(page: Page) -> None:
    orders = [call(page, "shuffled", 100, seed) for seed in (1, 1, 2)]
    assert sorted(orders[0]) == list(range(100))
    assert orders[0] == orders[1] != orders[2]
