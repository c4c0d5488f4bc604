"""`js/metrics.js` in a real browser: what it reads, beside what Prometheus' own client reads."""

import math
from typing import Any

import pytest
from playwright.sync_api import Page
from prometheus_client.parser import text_string_to_metric_families

from tests.browser.conftest import Watched
from tests.service.processes import Service

NASTY = r"""
# HELP a Help with "quotes", {braces} and a newline \n in it
# TYPE a untyped
a 1
a{} 2.5
a{x="1",} 3
a{x="comma, brace } and equals ="} 4
a{x="a \"quoted\" word"} 5
a{x="a\\path\\n and a real\nnewline"} 6
a{ y = "spaces" , z="" } 7
a{x="Zürich 東京"} +Inf
a{x="low"} -Inf
a{x="none"} NaN
a{x="small"} 1e-05
a{x="timed"} 8 1395066363000
a_bucket{le="+Inf"} 9
"""
BROKEN = 'b{x="open\nb{x=1} 1\nb 1x\nb\n{x="1"} 1\n1b 2\n\n#b 3\nb 4\n'


@pytest.fixture
def page(watched: Watched, url: str) -> Page:
    watched.page.goto(f"{url}/status")
    return watched.page


def call(page: Page, function: str, *arguments: Any) -> Any:
    """What a function of the module gives; a number that JSON has not comes as a float too."""
    script = "async ([name, given]) => (await import(new URL('ui/js/metrics.js', document.baseURI)))[name](...given)"
    return page.evaluate(script, [function, list(arguments)])


def read_by_prometheus(text: str) -> list[tuple[str, dict[str, str], float]]:
    families = text_string_to_metric_families(text)
    return [(sample.name, dict(sample.labels), sample.value) for family in families for sample in family.samples]


def assert_same(samples: list[dict[str, Any]], expected: list[tuple[str, dict[str, str], float]]) -> None:
    assert [(sample["name"], sample["labels"]) for sample in samples] == [row[:2] for row in expected]
    for sample, (_, _, value) in zip(samples, expected, strict=True):
        assert sample["value"] == value or (math.isnan(sample["value"]) and math.isnan(value))


def test_it_reads_what_the_service_writes(page: Page, running: Service) -> None:
    assert running.client.post("/uncertainty", json={"inputs": [[0] * 64]}).status_code == 200
    text = running.client.get("/metrics").text
    expected = read_by_prometheus(text)
    assert len(expected) > 300
    assert_same(call(page, "parse", text), expected)


def test_it_reads_labels_with_escapes(page: Page) -> None:
    expected = read_by_prometheus(NASTY)
    assert len(expected) == 13
    assert_same(call(page, "parse", NASTY), expected)


def test_what_is_no_sample_is_left_out(page: Page) -> None:
    assert call(page, "parse", BROKEN) == [{"name": "b", "labels": {}, "value": 4}]
    assert call(page, "parse", "") == []


TEXT = """
s_bucket{le="1",w="0"} 1
s_bucket{le="2",w="0"} 3
s_bucket{le="+Inf",w="0"} 4
s_sum{w="0"} 9
s_bucket{le="2",w="1"} 4
s_bucket{le="+Inf",w="1"} 4
s_bucket{le="1",w="1"} 4
s_sum{w="1"} 2
"""


def test_histograms_are_added_up(page: Page) -> None:
    samples = call(page, "parse", TEXT)
    whole = call(page, "histogramOf", samples, "s")
    assert whole == {"bounds": [1, 2, math.inf], "counts": [5, 2, 1], "sum": 11, "count": 8}
    one = call(page, "histogramOf", samples, "s", {"w": "0"})
    assert one == {"bounds": [1, 2, math.inf], "counts": [1, 2, 1], "sum": 9, "count": 4}
    assert call(page, "histogramOf", samples, "other") is None
    assert call(page, "grown", whole, one) == {"bounds": [1, 2, math.inf], "counts": [4, 0, 0], "sum": 2, "count": 4}
    assert call(page, "grown", one, whole)["counts"] == [0, 0, 0]  # never less than nothing
    assert call(page, "mean", whole) == 11 / 8


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ([4, 4, 0], 0.5, 1),
        ([4, 4, 0], 0.75, 1.5),
        ([4, 4, 0], 0.25, 0.5),
        ([0, 4, 0], 0.5, 1.5),
        ([0, 0, 4], 0.5, 2),  # above the highest bound: no more is known
        ([1, 0, 1], 1, 2),
        ([0, 0, 0], 0.5, None),
    ],
)
def test_a_quantile_is_where_prometheus_has_it(
    page: Page, counts: list[int], share: float, expected: float | None
) -> None:
    histogram = {"bounds": [1, 2, math.inf], "counts": counts, "sum": 1, "count": sum(counts)}
    assert call(page, "quantile", histogram, share) == expected
