"""What was measured → the page of performance."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

PLACE = Path(__file__).parents[2] / "docs" / "make_performance.py"
PAGE = "before\n<!-- one -->\n\nold\n\nolder\n\n<!-- /one -->\nbetween\n<!-- two -->\nkept\n<!-- /two -->\nafter\n"


@pytest.fixture(scope="module")
def page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_performance", PLACE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_parts_stand_between_their_marks_and_nothing_else_changes(page: ModuleType) -> None:
    filled = page.fill(PAGE, "one", ["| a |", r"\1 \g<2>"])
    assert filled == PAGE.replace("old\n\nolder", "| a |\n\n" + r"\1 \g<2>")
    assert page.fill(filled, "one", ["old", "older"]) == PAGE


def test_empty_marks_are_filled(page: ModuleType) -> None:
    assert page.fill("<!-- one -->\n<!-- /one -->", "one", ["new"]) == "<!-- one -->\n\nnew\n\n<!-- /one -->"


def test_marks_must_be_there(page: ModuleType) -> None:
    with pytest.raises(SystemExit, match="no marks for three"):
        page.fill(PAGE, "three", ["new"])


def test_a_table_has_a_line_a_row(page: ModuleType) -> None:
    assert page.table(["", "ms"], [("a", 1), ("b", "")]) == "|  | ms |\n| --- | ---: |\n| a | 1 |\n| b |  |"


def test_the_disturbance_is_of_all_lines(page: ModuleType) -> None:
    cores = [{"1": 0.01, "64": 0.5}, {"64": 0.03}]
    medians = [{"at": {count: {"disturbed": found} for count, found in line.items()}} for line in cores]
    told = "All else on the machine took 0.03 cores meanwhile, 0.50 at most."
    assert page.disturbance({"medians": medians}) == told
    assert next(iter(page.serving({"medians": medians[:0], "goals": [], "not_run": []}))) != told
