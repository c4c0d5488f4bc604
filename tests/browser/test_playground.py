"""The playground in a real browser, against a real service."""

import ast
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Request, expect

from service.access.keys import make_key
from service.config import Settings
from service.http.app import create_app
from tests.browser.axe import barriers
from tests.browser.conftest import PATIENCE_MS, ROOT, TOWNS, Watched
from tests.browser.playground import Playground
from tests.conftest import running_server
from tests.service.processes import Service, service


@pytest.fixture
def playground(watched: Watched, url: str) -> Playground:
    return Playground(watched.page, url)


def test_an_example_is_answered_as_the_api_answers_it(playground: Playground, running: Service) -> None:
    rows = running.client.get("/v1/models/digits/examples").json()["inputs"]
    labels = [
        answer["label"] for answer in running.client.post("/predict", json={"inputs": rows}).json()["predictions"]
    ]
    shown = []
    for number in range(1, len(rows) + 1):
        playground.example(number)
        shown.append(playground.answers()[0])
    assert shown == labels
    assert len(set(labels)) > 4


def test_a_digit_drawn_with_the_mouse_is_recognised(playground: Playground) -> None:
    draw_one(playground)
    assert playground.answers() == ["1", "1"]


def draw_one(playground: Playground) -> None:
    """A stroke down the middle."""
    playground.press("Clear")
    sheet = playground.page.locator("#drawing")
    assert playground.inked(sheet) == 0
    box = sheet.bounding_box()
    assert box
    x, y, width, height = box["x"], box["y"], box["width"], box["height"]
    playground.page.mouse.move(x + 0.5 * width, y + 0.06 * height)
    playground.page.mouse.down()
    playground.page.mouse.move(x + 0.5 * width, y + 0.94 * height, steps=8)
    playground.page.mouse.up()
    playground.settle()
    assert 8 <= playground.inked(sheet) <= 32


def test_the_eraser_takes_away(playground: Playground) -> None:
    before = playground.inked(playground.page.locator("#drawing"))
    playground.press("Eraser")
    playground.page.locator("#drawing").click()
    playground.settle()
    assert playground.inked(playground.page.locator("#drawing")) < before


def test_a_finger_draws(browser: Browser, url: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    playground = Playground(context.new_page(), url)
    playground.press("Clear")
    playground.page.locator("#drawing").tap()
    playground.settle()
    assert playground.inked(playground.page.locator("#seen")) > 0
    context.close()


def test_keys_draw(playground: Playground) -> None:
    playground.press("Clear")
    sheet = playground.page.locator("#drawing")
    sheet.focus()
    for key in ("ArrowDown", "Space", "Shift+ArrowRight", "Shift+ArrowRight"):
        sheet.press(key)
    playground.settle()
    assert playground.inked(sheet) >= 3
    expect(playground.page.locator(".editor [role=status]")).to_contain_text("Row 2, column 3: 16")


@pytest.mark.parametrize(("slider", "value"), [("Add noise", 0.4), ("Turn", 40)])
def test_a_change_raises_the_uncertainty(playground: Playground, slider: str, value: float) -> None:
    """Of most digits, and a turn by some degrees: on its side one may look like another, and the networks agree."""
    before, after = [], []
    for number in range(1, 9):
        playground.slide(slider, 0)
        playground.example(number)
        before.append(playground.uncertainty())
        playground.slide(slider, value)
        after.append(playground.uncertainty())
    assert sum(after) > 2 * sum(before)


def test_dropped_pixels_are_gone_and_come_back(playground: Playground) -> None:
    before, seen = playground.shown(), playground.page.locator("#seen")
    inked = playground.inked(seen)
    playground.slide("Drop pixels", 0.5)
    assert playground.inked(seen) < inked
    assert playground.shown() != before
    playground.press("Undo these")
    assert (playground.inked(seen), playground.shown()) == (inked, before)


def test_dropped_units_change_the_answer_and_reset_restores_it(playground: Playground) -> None:
    before = playground.shown()
    grid = playground.page.locator(".site canvas").first
    box = grid.bounding_box()
    assert box
    playground.page.mouse.move(box["x"] + 2, box["y"] + 2)
    playground.page.mouse.down()
    playground.page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] - 2, steps=10)
    playground.page.mouse.up()
    playground.settle()
    squashed = playground.page.locator(".site .card-head .small").first.inner_text()
    assert 30 <= int(squashed.split()[0]) <= 60
    assert playground.shown() != before
    assert "Not decided" in playground.shown()
    playground.press("Restore all")
    assert playground.shown() == before


def test_keys_drop_and_restore_a_unit(playground: Playground) -> None:
    before = playground.shown()
    grid = playground.page.locator(".site canvas").last
    grid.focus()
    reported = playground.page.locator(".site [role=status]").last
    grid.press("ArrowRight")
    grid.press("Space")
    expect(reported).to_have_text("Unit 1, dropped")
    playground.settle()
    assert playground.shown() != before
    grid.press("Space")
    expect(reported).to_have_text("Unit 1, kept")
    playground.settle()
    assert playground.shown() == before


def test_a_share_of_the_units_is_named_in_the_request(playground: Playground) -> None:
    asked: list[Any] = []
    playground.page.on("request", lambda request: asked.append(request.post_data_json))
    playground.slide("Drop a fraction", 0.25, number=1)
    assert asked[-1]["ablate"][0]["site"] == 1
    assert len(set(asked[-1]["ablate"][0]["units"])) == 64


def test_more_networks_another_p_and_other_networks(playground: Playground) -> None:
    seen = {playground.shown()}
    for label, value in (
        ("T, number of samples", 7),
        ("p, fraction of units dropped", 0.2),
        ("Seed of the samples", 3),
    ):
        playground.slide(label, value)
        assert playground.shown() not in seen
        seen.add(playground.shown())
    assert "of 7 networks" in playground.shown()
    assert not playground.page.get_by_label("as trained").is_checked()


def test_which_errors_are_allowed_decides(playground: Playground) -> None:
    playground.example(1)
    assert "Accept" in playground.shown()
    playground.page.get_by_label("Allowed error rate").select_option("at most 1 %")
    playground.settle()
    assert "Refer to a person" in playground.shown()
    playground.page.get_by_label("The prediction set contains").select_option("in 99 % of cases")
    playground.settle()
    assert "Cannot be ruled out at a coverage of 99 %: 1, 2, " in playground.shown()


def test_one_question_at_a_time_and_the_newest_wins(playground: Playground) -> None:
    page, flying, most, asked = playground.page, 0, 0, 0

    def sent(request: Request) -> None:
        nonlocal flying, most, asked
        question = request.url.endswith("/uncertainty")
        flying, asked = flying + question, asked + question
        most = max(most, flying)

    def done(request: Request) -> None:
        nonlocal flying
        flying -= request.url.endswith("/uncertainty")

    page.on("request", sent)
    page.on("requestfinished", done)
    page.get_by_label("Turn", exact=True).evaluate("""async (slider) => {
        for (let degrees = 1; degrees <= 200; degrees += 1) {
            slider.value = degrees;
            slider.dispatchEvent(new Event("input"));
            if (degrees % 10 === 0) await new Promise(requestAnimationFrame);
        }
    }""")
    playground.settle()
    assert most == 1
    assert 2 <= asked < 100
    shown = playground.shown()
    playground.slide("Turn", 0)
    assert playground.shown() != shown
    playground.slide("Turn", 200)
    assert playground.shown() == shown


def test_the_answer_is_announced_to_screen_readers(playground: Playground) -> None:
    expect(playground.page.locator("#said")).to_contain_text("Without dropout 2, 97 %. With dropout 2, 92 %; 94 of 100")


def test_a_regression_has_fields_and_an_interval(playground: Playground, running: Service) -> None:
    playground.model("houses")
    page = playground.page
    seen = running.client.get("/v1/models/houses").json()["seen"]
    size = page.get_by_label("size, as a slider")
    assert float(size.get_attribute("min") or "nan") == pytest.approx(seen[0]["lowest"])
    assert float(size.get_attribute("max") or "nan") == pytest.approx(seen[0]["highest"])
    before = playground.shown()
    reply = playground.reply_to(lambda: page.get_by_label("size", exact=True).fill("500"))
    deterministic = reply["predictions"][0]["deterministic"]["values"][0]
    assert float(playground.answers()[0].replace(",", "")) == pytest.approx(deterministic, rel=0.01)
    assert playground.shown() != before
    assert "Noise" in playground.shown()
    expect(page.locator(".field.changed")).to_have_count(1)
    expect(page.locator(".field.changed .before")).to_contain_text("was")
    playground.press("Undo changes")
    assert playground.shown() == before
    expect(page.locator(".field.changed")).to_have_count(0)


def test_a_category_is_chosen_by_name(playground: Playground) -> None:
    playground.model("towns")
    town = playground.page.get_by_label("town")
    assert town.locator("option").all_inner_texts() == sorted(TOWNS)
    shown = set()
    for name in TOWNS:
        town.select_option(name)
        playground.settle()
        shown.add(playground.shown())
    assert len(shown) == len(TOWNS)


def test_back_to_the_first_model(playground: Playground) -> None:
    before = playground.shown()
    playground.model("towns")
    playground.model("digits")
    assert playground.shown() == before


@pytest.mark.parametrize("form", ["curl", "Python"])
def test_what_is_copied_gives_the_same_numbers(
    context: BrowserContext, playground: Playground, tmp_path: Path, form: str
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    playground.model("towns")
    playground.slide("Seed of the samples", 5)
    page = playground.page
    reply = playground.reply_to(lambda: page.get_by_label("town").select_option("Land's End"))["predictions"][0]
    page.get_by_role("button", name=f"Copy as {form}").click()
    expect(page.locator("#request-said")).to_have_text("Copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    if form == "curl":
        done = subprocess.run(["bash", "-c", copied], capture_output=True, text=True, check=True)
        again = json.loads(done.stdout)["predictions"][0]
    else:
        (tmp_path / "copied.py").write_text(copied, encoding="utf-8")
        done = subprocess.run([sys.executable, tmp_path / "copied.py"], capture_output=True, text=True, check=True)
        again = ast.literal_eval(done.stdout)
    assert again == {name: value for name, value in reply.items() if name != "sampled"}


def test_two_inputs_side_by_side(playground: Playground) -> None:
    first = playground.shown()
    playground.press("Pin as A, to compare")
    playground.example(3)
    playground.slide("Add noise", 0.3)
    page = playground.page
    figures = {
        row[0]: row[1:]
        for row in page.locator(".comparison tbody tr").evaluate_all(
            "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"
        )
    }
    assert figures["Without dropout"][0].startswith("2, ")
    assert figures["Without dropout"][1].startswith("0, ")
    assert figures["Noise"] == ["0 %", "30 %"]
    assert float(figures["Uncertainty, nats"][1]) == playground.uncertainty()
    expect(page.locator(".pictures canvas")).to_have_count(2)
    expect(page.locator("#panels .panel")).to_have_count(2)
    assert len(playground.answers()) == 4
    playground.press("Unpin A")
    playground.slide("Add noise", 0)
    playground.example(1)
    assert playground.shown() == first


def test_a_comparison_tells_what_differs_by_little(playground: Playground) -> None:
    playground.model("houses")
    rows = playground.page.locator(".comparison tbody tr")
    size = playground.page.locator(".field", has_text="size").locator("input[type=number]")
    size.fill("100.1")
    playground.settle()
    playground.press("Pin as A, to compare")
    size.fill("100.2")
    playground.settle()
    expect(rows.filter(has_text="size").get_by_role("cell")).to_have_text(["100.1", "100.2"])


def test_a_comparison_shows_the_site_with_dropped_units(playground: Playground) -> None:
    rows = playground.page.locator(".comparison tbody tr")
    playground.slide("Drop a fraction", 0.25, number=0)
    playground.press("Pin as A, to compare")
    playground.slide("Drop a fraction", 0, number=0)
    playground.slide("Drop a fraction", 0.25, number=1)
    cells = rows.filter(has_text="Units dropped").get_by_role("cell")
    expect(cells).to_have_text([re.compile(r"^64 \(.*\) of dropout_1$"), re.compile(r"^64 \(.*\) of dropout_2$")])


def test_a_slider_has_the_value_of_its_field(playground: Playground) -> None:
    """Of whole numbers, of which it has not every one."""
    playground.model("houses")
    field = playground.page.locator(".field", has_text="age")
    age, slider = (field.locator(f"input[type={kind}]") for kind in ("number", "range"))
    slider.evaluate("one => Object.assign(one, {min: 1, step: 2})")  # as of days from 1 to 365
    age.fill("10")
    expect(slider).to_have_attribute("aria-valuetext", "10")
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "Home"):
        slider.press(key)
        assert slider.input_value() == age.input_value() == slider.get_attribute("aria-valuetext")


def test_an_error_is_shown_where_it_belongs(watched: Watched, tmp_path: Path) -> None:
    with service(tmp_path, "--models", str(ROOT / "models")) as running:
        playground = Playground(watched.page, str(running.client.base_url))
        playground.model("strength")
        before = playground.shown()
        field = playground.page.locator(".field", has_text="cement")
        field.locator("input[type=number]").fill("1e300")
        expect(field.locator(".control-error")).to_contain_text("expected a finite number that fits float32")
        expect(playground.page.locator("#answer-body")).to_have_class("stale")
        watched.complaints.clear()  # the browser itself tells of the status 422
        playground.press("Undo changes")
        expect(field.locator(".control-error")).to_be_hidden()
        expect(playground.page.locator("#answer-body")).not_to_have_class("stale")
        assert playground.shown() == before


def test_a_value_that_the_network_has_no_answer_to_is_refused(playground: Playground, watched: Watched) -> None:
    playground.model("houses")
    playground.page.locator(".field", has_text="size").locator("input[type=number]").fill("1e300")
    expect(playground.page.get_by_text("the network's answer is not a finite number")).to_be_visible()
    expect(playground.page.locator("#answer-body")).to_have_class("stale")
    watched.complaints.clear()


@pytest.mark.parametrize(
    ("label", "wrong", "right", "expected"),
    [
        ("T, number of samples", "5000", "50", "Expected a whole number from 1 to 1000."),
        ("T, number of samples", "", "100", "Expected a whole number from 1 to 1000."),
        ("Seed of the samples", "-1", "3", "Expected a whole number from 0 to 9007199254740991."),
        ("Seed of the samples", "0.5", "0", "Expected a whole number from 0 to 9007199254740991."),
        ("size", "", "100", "Expected a number."),
    ],
)
def test_an_invalid_input_is_shown_and_greys_the_answer(
    playground: Playground, label: str, wrong: str, right: str, expected: str
) -> None:
    playground.model("houses")
    page, control = playground.page, playground.page.get_by_label(re.compile(f"^{label}(?!, as a slider)"))
    control.fill(wrong)
    expect(control).to_have_accessible_description(re.compile(re.escape(expected)))
    expect(control).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#answer-other")).to_contain_text("This answer is not for the current inputs")
    expect(page.locator("#answer-body")).to_have_class(re.compile("other"))
    playground.slide("p, fraction of units dropped", 0.3)  # another answer does not make it right
    expect(page.locator("#answer-body")).to_have_class(re.compile("other"))
    control.fill(right)
    expect(page.locator("#answer-other")).to_be_hidden()
    expect(control).to_have_attribute("aria-invalid", "false")
    expect(page.locator("#answer-body")).not_to_have_class(re.compile("other"))


def test_after_the_last_seed_comes_the_first(playground: Playground) -> None:
    first = playground.shown()
    playground.slide("Seed of the samples", 9007199254740991)
    assert playground.shown() != first
    playground.press("Other samples")
    assert playground.page.get_by_label("Seed of the samples").input_value() == "0"
    assert playground.shown() == first


def test_a_list_that_is_read_anew_leaves_an_open_choice_alone(playground: Playground) -> None:
    option = playground.page.locator("#model option").first.element_handle()
    with playground.page.expect_response("**/v1/models"):
        playground.page.evaluate("dispatchEvent(new Event('focus'))")
    playground.settle()
    assert option.evaluate("one => one.isConnected")


def test_nothing_is_copied_while_there_is_no_model(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    page = watched.page
    with service(tmp_path, "--models", str(tmp_path / "none")) as running:
        page.goto(str(running.client.base_url))
        expect(page.locator("#away")).to_be_visible()
        for name in ("Copy as curl", "Copy as Python"):
            expect(page.get_by_role("button", name=name)).to_be_disabled()
    watched.complaints.clear()  # the browser itself tells of the status 503


def test_what_is_tried_out_is_no_data_of_the_service(watched: Watched, models: Path, tmp_path: Path) -> None:
    with service(tmp_path, "--models", str(models)) as running:
        playground = Playground(watched.page, str(running.client.base_url))
        playground.slide("Add noise", 0.4)
        reported = running.client.get("/metrics").text
    assert re.search(r'^dropserve_requests_total\{.*"/uncertainty".*\} [2-9]', reported, re.MULTILINE)
    assert re.search(r'^dropserve_exploratory_rows_total\{.*"digits".*\} [2-9]', reported, re.MULTILINE)
    assert "dropserve_predictive_entropy_count{" not in reported
    assert "dropserve_decisions_total{" not in reported


def test_a_model_unloaded_meanwhile_is_reported(watched: Watched, models: Path, tmp_path: Path) -> None:
    with service(tmp_path, "--models", str(models)) as running:
        playground = Playground(watched.page, str(running.client.base_url))
        before = playground.shown()
        running.client.post("/v1/models/towns/unload")
        playground.page.get_by_label("Model", exact=True).select_option("towns")
        expect(playground.page.locator("#answer-error")).to_contain_text("towns/1 is not ready: unloaded")
        watched.complaints.clear()  # the browser itself tells of the status 503
        assert playground.page.get_by_label("Model", exact=True).input_value() == "digits"
        playground.example(1)
        expect(playground.page.locator("#answer-error")).to_be_hidden()
        assert playground.shown() == before
        watched.complaints[:] = [said for said in watched.complaints if "503" not in said]  # it may have asked twice


def test_the_service_goes_and_comes_back(watched: Watched, models: Path, tmp_path: Path) -> None:
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    page = watched.page
    with service(tmp_path / "first", "--models", str(models)) as first:
        port = str(first.client.base_url.port)
        playground = Playground(page, str(first.client.base_url))
        before = playground.shown()
        first.process.kill()
        first.process.wait()
        page.get_by_label("Add noise").fill("0.3")
        expect(page.locator("#away")).to_be_visible()
        expect(page.locator("#away-text")).to_contain_text("The service does not answer.")
        expect(page.locator("#answer-body")).to_have_class("stale")
        assert playground.shown() == before
        playground.page.get_by_label("Add noise").fill("0.9")
        page.get_by_role("button", name="Pin as A, to compare").click()  # with the picture that was answered
    with service(tmp_path / "second", "--models", str(models), "--port", port):
        expect(page.locator("#away")).to_be_hidden()
        playground.settle()
        expect(page.locator("#answer-body")).not_to_have_class("stale")
        assert playground.shown() != before
        answered, now = (page.locator(".pictures canvas").nth(i) for i in range(2))
        assert playground.inked(answered) < playground.inked(now)
        watched.complaints.clear()  # the browser itself tells of connections refused


def test_a_key_is_entered_once(watched: Watched, models: Path, tmp_path: Path) -> None:
    secret, stored = make_key("alice", "infer")
    (tmp_path / "keys").write_text(stored.line())
    page = watched.page
    with service(tmp_path, "--models", str(models), DROPSERVE_API_KEYS=str(tmp_path / "keys")) as guarded:
        page.goto(str(guarded.client.base_url))
        page.get_by_label("API key").fill("wrong")
        page.get_by_role("button", name="Use it").click()
        expect(page.get_by_text("the key is not known")).to_be_visible()
        page.get_by_label("API key").fill(secret)
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")
        watched.complaints.clear()  # the browser itself tells of the status 401
        playground = Playground(page, str(guarded.client.base_url))
        page.get_by_text("Show it").click()
        expect(page.locator("#request-text")).to_contain_text("$DROPSERVE_KEY")
        assert secret not in page.content()
        assert playground.answers()[0] == "2"


def test_it_works_behind_a_prefix(watched: Watched, models: Path) -> None:
    app = create_app(Settings(models=models))

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            assert scope["path"].startswith("/some/where/")
            path = scope["path"].removeprefix("/some/where")
            scope = scope | {"path": path, "raw_path": path.encode()}
        await app(scope, receive, send)

    with running_server(behind, ready="/some/where/readyz") as client:
        playground = Playground(watched.page, f"{client.base_url}/some/where/")
        assert playground.answers()[0] == "2"
        watched.page.get_by_text("Show it").click()
        address = f"'{client.base_url}/some/where/v1/models/digits/versions/1/uncertainty'"
        expect(watched.page.locator("#request-text")).to_contain_text(address)


def test_the_pictures_row_is_the_one_that_is_sent(playground: Playground) -> None:
    asked: list[Any] = []
    playground.page.on("request", lambda request: asked.append(request.post_data_json))
    playground.press("Clear")
    sheet = playground.page.locator("#drawing")
    sheet.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "Space"):
        sheet.press(key)
    playground.settle()
    (row,) = asked[-1]["inputs"]
    assert row.index(max(row)) == 1 * 8 + 2
    playground.slide("Turn", 90)  # clockwise: row 1, column 2 comes to row 2, column 6
    (row,) = asked[-1]["inputs"]
    assert row.index(max(row)) == 2 * 8 + 6
    assert math.isclose(max(row), 16, rel_tol=1e-3)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
@pytest.mark.parametrize("model", ["digits", "towns"])
def test_nothing_keeps_anybody_out(browser: Browser, url: str, size: tuple[int, int], scheme: Any, model: str) -> None:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    context.set_default_timeout(PATIENCE_MS)
    playground = Playground(context.new_page(), url)
    playground.model(model)
    playground.press("Pin as A, to compare")
    playground.page.get_by_text("Show it").click()
    assert barriers(playground.page) == []
    assert playground.page.evaluate("document.documentElement.scrollWidth") <= size[0]
    context.close()


def test_an_incomplete_answer_is_requested_again(playground: Playground, watched: Watched) -> None:
    before = playground.shown()
    playground.page.route("**/uncertainty", lambda route: route.fulfill(body="{"), times=1)
    playground.slide("Add noise", 0.4)
    assert playground.shown() != before
    expect(playground.page.locator("#away")).to_be_hidden()
    playground.slide("Add noise", 0)
    assert playground.shown() == before


def test_an_error_of_the_page_is_shown_and_not_its_last(playground: Playground, watched: Watched) -> None:
    before = playground.shown()
    playground.page.route("**/uncertainty", lambda route: route.fulfill(json={}), times=1)
    playground.slide("Add noise", 0.4)
    expect(playground.page.locator("#away-text")).to_contain_text("An error occurred in this page")
    watched.complaints.clear()  # the browser itself tells of the mistake
    playground.slide("Add noise", 0.5)
    assert playground.shown() != before
