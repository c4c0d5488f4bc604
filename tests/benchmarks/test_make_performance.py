"""What was measured → the page of performance."""

import pytest

from tools.docs import make_performance as page

PAGE = "before\n<!-- one -->\n\nold\n\nolder\n\n<!-- /one -->\nbetween\n<!-- two -->\nkept\n<!-- /two -->\nafter\n"


def test_parts_stand_between_their_marks_and_nothing_else_changes() -> None:
    filled = page.fill(PAGE, "one", ["| a |", r"\1 \g<2>"])
    assert filled == PAGE.replace("old\n\nolder", "| a |\n\n" + r"\1 \g<2>")
    assert page.fill(filled, "one", ["old", "older"]) == PAGE


def test_empty_marks_are_filled() -> None:
    assert page.fill("<!-- one -->\n<!-- /one -->", "one", ["new"]) == "<!-- one -->\n\nnew\n\n<!-- /one -->"


def test_marks_must_be_there() -> None:
    with pytest.raises(SystemExit, match="no marks for three"):
        page.fill(PAGE, "three", ["new"])


def test_a_table_has_a_line_a_row() -> None:
    assert page.table(["", "ms"], [("a", 1), ("b", "")]) == "|  | ms |\n| --- | ---: |\n| a | 1 |\n| b |  |"


def test_the_disturbance_is_of_all_lines() -> None:
    cores = [{"1": 0.01, "64": 0.5}, {"64": 0.03}]
    medians = [{"at": {count: {"disturbed": found} for count, found in line.items()}} for line in cores]
    shown = "All else on the machine took 0.03 cores meanwhile, 0.50 at most."
    assert page.disturbance({"medians": medians}) == shown
    assert next(iter(page.serving({"medians": medians[:0], "goals": [], "not_run": []}))) != shown
