"""What is promised of an answer, and what takes the promise back; answers of many classes with long names."""

import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, Locator, expect
from torch import Tensor, nn

from service.model.manifest import ClassFigures, read_manifest, write_manifest
from tests.browser.conftest import PATIENCE_MS, ROOT, Watched
from tests.browser.playground import Playground
from tests.service.processes import Service, service
from training.publish.release import publish_module

CLASSES = tuple(f"kind {i} of a taxonomy whose names are long" if i % 2 else f"k{i}" for i in range(100))
NOT_CLAIMED = "is not claimed here"


class Bypassed(nn.Module):
    """Dropout is on one of two ways."""

    def __init__(self) -> None:
        super().__init__()
        self.thinned = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
        self.direct = nn.Linear(4, 3)

    def forward(self, row: Tensor) -> Tensor:
        return self.thinned(row) + self.direct(row)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of a network of a hundred classes, and of one whose dropout can be bypassed."""
    models = tmp_path_factory.mktemp("many")
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 100))
    publish_module(wide, (torch.randn(8, 4),), name="many", models=models, labels=CLASSES)
    publish_module(Bypassed(), (torch.randn(8, 4),), name="bypassed", models=models, labels=("a", "b", "c"))
    with service(tmp_path_factory.mktemp("service"), "--models", str(models)) as running:
        yield running


@pytest.fixture(scope="module")
def warned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of the committed digits, whose evaluation is said to have found something against them."""
    models = tmp_path_factory.mktemp("warned")
    shutil.copytree(ROOT / "models" / "digits" / "1", models / "digits" / "1")
    manifest = read_manifest(models / "digits" / "1")
    quantiles = [
        found.model_copy(update={"expected": (0.9422, 0.9574) if found.coverage == 0.95 else None})
        for found in manifest.conformal
    ]
    figures = manifest.evaluation | {"baseline": {"accuracy": 0.1}}
    figures["deterministic"] = figures["deterministic"] | {"coverage_0.95": 0.942}
    found = {
        "warnings": ("the test rows differ from those calibrated on",),
        "conformal": tuple(quantiles),
        "evaluation": figures,
        "class_figures": (ClassFigures(rows=10, recall={"deterministic": 0.9, "mc": 0.8}),) * 10,
        "class_weights": (1.0,) * 10,
    }
    write_manifest(manifest.model_copy(update=found), models / "digits" / "1")
    with service(tmp_path_factory.mktemp("service"), "--models", str(models)) as running:
        yield running


def number(playground: Playground, field: str) -> Locator:
    return playground.page.locator(".field", has_text=field).locator("input[type=number]")


@pytest.mark.parametrize(("model", "kind"), [("houses", "interval"), ("towns", "prediction set")])
def test_a_value_that_was_never_seen_takes_the_promise_back(watched: Watched, url: str, model: str, kind: str) -> None:
    playground = Playground(watched.page, url)
    playground.model(model)
    assert "Cannot be ruled out at a coverage of 95 %" in playground.shown()
    size = number(playground, "size")
    for value in ("900", "-3"):
        size.fill(value)
        playground.settle()
        shown = playground.shown()
        assert re.search(rf"Outside the range of the training data: size {value} \([\d.]+ to [\d.]+\)", shown)
        assert f"The {kind} would be" in shown
        assert NOT_CLAIMED in shown
        assert "Cannot be ruled out" not in shown
        expect(size).to_have_accessible_description(re.compile("Outside the range of the training data: .* to "))
    slider = watched.page.get_by_label("size, as a slider")
    for end in (slider.get_attribute("min"), slider.get_attribute("max")):  # what was seen at the utmost was seen
        assert end
        size.fill(end)
        playground.settle()
        assert "Drawn or altered:" in playground.shown()
        assert NOT_CLAIMED in playground.shown()
        assert "Outside" not in playground.shown()
    playground.press("Undo changes")
    assert "Cannot be ruled out at a coverage of 95 %" in playground.shown()
    assert NOT_CLAIMED not in playground.shown()
    expect(watched.page.locator(".beyond:visible")).to_have_count(0)
    size.fill("900")
    expect(watched.page.locator(".beyond:visible")).to_have_count(1)
    size.fill("")  # is not outside of anything
    expect(watched.page.locator(".beyond:visible")).to_have_count(0)


def test_a_picture_that_is_drawn_or_altered_takes_the_promise_back(watched: Watched, url: str) -> None:
    """Coverage and rate of errors; until it is one of the examples again, as it is."""
    playground = Playground(watched.page, url)

    def claimed() -> bool:
        shown = playground.shown()
        claims = ["Cannot be ruled out at a coverage of 95 %" in shown, "are wrong with 90 % confidence" in shown]
        assert [text in shown for text in ("Drawn or altered:", NOT_CLAIMED)] == [not claims[0]] * 2
        assert claims[0] == claims[1]
        return all(claims)

    def drawn() -> None:
        box = watched.page.locator("#drawing").bounding_box()
        assert box
        watched.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        playground.settle()

    assert claimed()
    for slider, value in (("Turn", 40), ("Add noise", 0.3), ("Drop pixels", 0.5)):
        playground.slide(slider, value)
        assert not claimed(), slider
        playground.slide(slider, 0)
        assert claimed(), slider
    drawn()
    assert not claimed()
    playground.example(3)
    assert claimed()
    playground.press("Clear")
    assert not claimed()
    playground.example(1)
    assert claimed()


def test_a_definition_is_not_shown_as_a_finding(watched: Watched, url: str, running: Service) -> None:
    """A network that is sure of a digit is not said to know too little of it."""
    playground = Playground(watched.page, url)
    shown = playground.shown()
    assert "Does not know" not in shown
    assert re.search(r"Between networks (below )?0\.", shown)
    assert "High where the model has learned too little about such inputs" in shown
    usual = running.client.get("/v1/models/digits").json()["evaluation"]["mc"]["mutual_information"]
    assert f"Its mean over the test rows is {float(f'{usual:.3g}')}." in shown


def test_findings_against_a_model_are_shown(watched: Watched, warned: Service) -> None:
    """Its warnings; a coverage that the test rows contradict; what probabilities of a weighted loss are."""
    playground = Playground(watched.page, str(warned.client.base_url))
    expect(watched.page.locator("#warnings")).to_contain_text("Warning: the test rows differ from those calibrated on.")
    shown = playground.shown()
    assert "calibrated for a coverage of 95 %, is " in shown
    assert "It contains the truth for 94.2 % of the test rows; 94.22 % to 95.74 % were expected" in shown
    assert "Cannot be ruled out" not in shown
    assert "Weighted classes: the probabilities are those for classes as frequent as their weights" in shown
    watched.page.get_by_label("The prediction set contains").select_option("in 99 % of cases")
    playground.settle()
    assert "Cannot be ruled out at a coverage of 99 %" in playground.shown()
    watched.page.goto(f"{warned.client.base_url}/status")
    article = watched.page.locator("article[data-model=digits]")
    expect(article).to_contain_text("Warning: the test rows differ from those calibrated on.")
    article.locator("summary", has_text="Each class").click()
    rows = article.get_by_role("region", name="Each class").get_by_role("row")
    expect(rows.nth(1)).to_contain_text("0")
    expect(rows.nth(1).get_by_role("cell")).to_have_text(["10", "0.1000", "0.9000", "0.8000"])
    accuracy = article.get_by_role("region", name="Evaluation on test rows").get_by_role("row").nth(1)
    expect(accuracy.get_by_role("cell").last).to_have_text("0.1000")


def test_so_it_is_in_a_comparison(watched: Watched, url: str) -> None:
    playground = Playground(watched.page, url)
    playground.model("houses")
    number(playground, "size").fill("900")
    playground.settle()
    playground.press("Pin as A, to compare")
    playground.press("Undo changes")
    rows = watched.page.locator(".comparison tbody tr")
    cells = rows.filter(has_text="Interval").get_by_role("cell")
    expect(cells.first).to_contain_text("coverage not claimed")
    expect(cells.last).to_contain_text("coverage 95 %")
    expect(rows.filter(has_text="Outside training range").get_by_role("cell")).to_have_text(["size", "nothing"])
    expect(watched.page.locator("#panels .panel").first).to_contain_text(NOT_CLAIMED)
    expect(watched.page.locator("#panels .panel").last).not_to_contain_text(NOT_CLAIMED)


def test_the_comparison_names_the_coverage_of_each(watched: Watched, url: str) -> None:
    playground = Playground(watched.page, url)
    playground.press("Pin as A, to compare")
    watched.page.get_by_label("The prediction set contains").select_option("in 99 % of cases")
    playground.settle()
    cells = watched.page.locator(".comparison tbody tr", has_text="Prediction set").get_by_role("cell")
    expect(cells.first).to_contain_text("coverage 95 %")
    expect(cells.last).to_contain_text("coverage 99 %")


def test_nothing_of_the_input_reaches_the_answer(watched: Watched, url: str, many: Service) -> None:
    playground = Playground(watched.page, url)
    said = "The answer no longer depends on the input."
    playground.slide("Drop a fraction", 0.99)
    assert said not in playground.shown()
    playground.slide("Drop a fraction", 1)
    assert said in playground.shown()
    assert "looks like more than one class" not in playground.shown()
    before = playground.answers()
    playground.example(4)
    assert playground.answers() == before
    expect(watched.page.locator("#said")).to_contain_text(said)
    other = Playground(watched.page, str(many.client.base_url))
    other.model("bypassed")
    other.slide("Drop a fraction", 1)
    assert said not in other.shown()


def test_of_many_classes_the_first_are_shown_and_the_others_unfold(watched: Watched, many: Service) -> None:
    playground = Playground(watched.page, str(many.client.base_url))
    playground.model("many")
    page = watched.page
    charts = page.locator("#panels svg[aria-label^='Answers of the networks']")
    more = page.get_by_text("and 88 others, less probable")
    expect(charts).to_have_count(1)
    more.focus()
    page.keyboard.press("Enter")
    expect(charts).to_have_count(2)
    expect(more).to_be_focused()
    playground.slide("T, number of samples", 30)
    expect(charts).to_have_count(2)  # it stays unfolded when the answer changes
    reported = " ".join(charts.evaluate_all("all => all.map(one => one.ariaLabel)"))
    assert all(f"{name}: mean" in reported for name in CLASSES)
    more.click()
    expect(charts).to_have_count(1)


@pytest.mark.parametrize("width", [1440, 390])
def test_long_names_end_in_an_ellipsis_and_tell_themselves_whole(browser: Browser, many: Service, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844})
    context.set_default_timeout(PATIENCE_MS)
    page: Any = context.new_page()
    playground = Playground(page, str(many.client.base_url))
    playground.model("many")
    long = [name for name in CLASSES if len(name) > 20]
    texts = page.locator("#panels svg text:has(title)")
    titles = texts.evaluate_all("all => all.map(one => [one.firstChild.data, one.lastChild.textContent])")
    shortened = [(shown, whole) for shown, whole in titles if whole in long]
    assert shortened
    assert all(shown.endswith("…") and whole.startswith(shown[:-1]) for shown, whole in shortened)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
