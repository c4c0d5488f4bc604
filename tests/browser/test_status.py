"""The status page in a real browser, against real services."""

import re
import shutil
from pathlib import Path
from typing import Literal

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
from prometheus_client.parser import text_string_to_metric_families

from service.access.keys import make_key
from service.model.manifest import PREDICT_GRAPH, read_manifest, sha256, write_manifest
from service.repository.documents import BEHAVIOUR, CARD
from tests.browser.axe import barriers
from tests.browser.conftest import PATIENCE_MS, Watched
from tests.conftest import Serve
from tests.ports import free_port
from tests.service.processes import Service, service
from tests.toy import ToyNet
from training.evidence.glossary import GLOSSARY, PLOTS

DIGIT = [0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0, 0, 3, 15, 2, 0, 11, 8, 0, 0, 4, 12, 0, 0, 8, 8, 0]
DIGIT += [0, 5, 8, 0, 0, 9, 8, 0, 0, 4, 11, 0, 1, 12, 7, 0, 0, 2, 14, 5, 10, 12, 0, 0, 0, 0, 6, 13, 10, 0, 0, 0]

EVIL = """<!doctype html><title>report</title><h1>What dropout does</h1>
<script>document.title = "ran"; parent.document.title = "ran"</script>
<img src="x" onerror="document.title = 'ran'"><img src="http://localhost:PORT/ui/icon.svg">
<link rel="stylesheet" href="/ui/style.css"><iframe src="/status"></iframe>
"""
EVIL_PLOT = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 4" width="40" onload="document.title = \'ran\'">'
    '<script>document.title = "ran"</script><circle cx="2" cy="2" r="1"/></svg>'
)

REMEMBER = """async (state) => {
    const { Models } = await import(new URL("ui/js/status/models.js", document.baseURI));
    window.kept ??= new Models(document.createElement("div"));
    await window.kept.show([{ labels: state }]);
    return { drawn: Object.keys(window.kept.drawn).sort(), references: Object.keys(window.kept.references).sort() };
}"""
"""The models part, asked anew where the state is another; → what it keeps."""


@pytest.fixture
def page(watched: Watched, url: str) -> Page:
    """The status page of the service that all share."""
    return open_status(watched.page, url)


def open_status(page: Page, url: str | httpx.URL) -> Page:
    """Until it has shown what the service says."""
    page.goto(f"{str(url).rstrip('/')}/status")
    expect(page.locator("#models > *").first).to_be_visible()
    return page


def model(page: Page, name: str) -> Locator:
    return page.get_by_role("article", name=f"Model {name}", exact=True)


def figure(within: Page | Locator, name: str) -> Locator:
    """What a term comes to, and the note below it."""
    return within.locator(f'dl.figures > div:has(> dt:text-is("{name}")) > dd')


# models


def test_each_model_is_shown_with_its_description(page: Page, running: Service) -> None:
    listed = running.client.get("/v1/models").json()
    for entry in listed["models"]:
        name = entry["model"]
        says = running.client.get(f"/v1/models/{name}").json()
        article = model(page, name)
        expect(article).to_contain_text(says["task"])
        expect(article.get_by_text("default model")).to_have_count(int(name == listed["default_model"]))
        for site in says["sites"]:
            row = article.get_by_role("region", name="Dropout sites").get_by_role("row", name=site["name"])
            expect(row).to_contain_text(str(site["p"]))
    figures = model(page, "digits").get_by_role("region", name="Evaluation on test rows")
    evaluation = running.client.get("/v1/models/digits").json()["evaluation"]
    cells = figures.get_by_role("row", name="Accuracy").get_by_role("cell")
    expect(cells).to_have_text([f"{evaluation[kind]['accuracy']:.4f}" for kind in ("deterministic", "mc")])


def test_no_figure_of_the_evaluation_is_left_out(page: Page, running: Service) -> None:
    for entry in running.client.get("/v1/models").json()["models"]:
        article = model(page, entry["model"])
        evaluation = running.client.get(f"/v1/models/{entry['model']}").json()["evaluation"]
        article.get_by_text(re.compile("more metrics")).click()
        shown = article.get_by_role("region", name=re.compile("Evaluation on test rows|More metrics")).locator(
            "tbody tr"
        )
        expect(shown).to_have_count(len(set(evaluation["deterministic"]) | set(evaluation["mc"])))


def test_figures_and_plots_have_the_names_of_the_card(page: Page) -> None:
    names = page.evaluate(
        "import(new URL('ui/js/status/figure_names.js', document.baseURI)).then(all => [all.MAIN, all.PLOTS])"
    )
    assert {key: said["better"] for key, said in names[0].items()} == {
        key: figure.better for key, figure in GLOSSARY.items()
    }
    assert set(names[1]) == set(PLOTS)


def test_the_plots_are_seen(page: Page, running: Service) -> None:
    plots = running.client.get("/models/digits/files").json()["plots"]
    images = model(page, "digits").locator("img")
    expect(images).to_have_count(len(plots))
    assert images.evaluate_all("all => all.every(one => one.complete && one.naturalWidth > 100 && one.alt.length > 20)")


def test_versions_with_their_states_and_reasons(context: BrowserContext, serve: Serve, tmp_path: Path) -> None:
    for version in (1, 2, 3):
        folder = ToyNet(seed=version).publish(tmp_path, version=version, description=f"the {version}.")
    (folder / PREDICT_GRAPH).write_bytes(b"damaged")
    ToyNet().publish(tmp_path, name="silent")
    (tmp_path / "readme.txt").touch()
    with serve(models=tmp_path, pins={"toy": 1}, watch=False) as client:
        client.post("/v1/models/silent/unload")
        page = open_status(context.new_page(), client.base_url)
        rows = model(page, "toy").get_by_role("region", name="Versions of toy").locator("tbody tr")
        expect(rows).to_have_count(3)
        expect(rows.nth(0)).to_contain_text("default version")
        expect(rows.nth(1)).to_contain_text("ready")
        expect(rows.nth(2)).to_contain_text("unavailable")
        expect(rows.nth(2)).to_contain_text("predict.onnx: is damaged")
        problem = page.locator("#problem")
        expect(problem).to_contain_text("toy/3")
        expect(problem).to_contain_text(re.compile(r"\nreadme\.txt: is not a folder"), use_inner_text=True)
        expect(model(page, "silent")).to_contain_text("not ready")
        expect(model(page, "silent")).to_contain_text("unloaded")
        expect(model(page, "toy")).to_contain_text("the 1.")
        page.get_by_role("button", name="Show toy version 2").click()
        expect(model(page, "toy")).to_contain_text("the 2.")
        expect(model(page, "toy").locator(".model-name")).to_be_focused()
        ToyNet().publish(tmp_path, name="newcomer")
        client.post("/v1/models/refresh")
        expect(model(page, "newcomer")).to_be_visible(timeout=PATIENCE_MS)
        expect(model(page, "toy")).to_contain_text("the 2.")  # the choice was kept


def test_a_service_without_models_is_shown_as_such(context: BrowserContext, serve: Serve, tmp_path: Path) -> None:
    with serve(models=tmp_path) as client:
        page = open_status(context.new_page(), client.base_url)
        expect(page.locator("#ready")).to_have_text("Not ready")
        expect(page.locator("#problem")).to_contain_text("there is no model in")
        expect(page.locator("#models")).to_contain_text("publish one with")


# files of models


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """A model whose files would do harm if a browser let them."""
    folder = ToyNet().publish(tmp_path / "models")
    card = (
        "# A card\n\n<script>document.title = 'ran'</script> [go](javascript:document.title='ran')\n\n![p](plot.svg)\n"
    )
    files = {CARD: card.encode(), "plot.svg": EVIL_PLOT.encode()}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    manifest = read_manifest(folder)
    digests = {**manifest.files, **{name: sha256(content) for name, content in files.items()}}
    write_manifest(manifest.model_copy(update={"files": digests, "description": "<b>bold</b>"}), folder)
    (folder / BEHAVIOUR).write_text(EVIL)
    return folder.parents[1]


def watch(page: Page, got: list[str]) -> None:
    """Note what the page gets from now on."""
    page.on("requestfinished", lambda request: got.append(request.url))


def test_no_file_of_a_model_runs_or_fetches_anything(context: BrowserContext, serve: Serve, evil: Path) -> None:
    with serve(models=evil) as client:
        report = evil / "toy" / "1" / BEHAVIOUR
        report.write_text(report.read_text().replace("PORT", str(client.base_url.port)))
        page = open_status(context.new_page(), client.base_url)
        expect(model(page, "toy")).to_contain_text("<b>bold</b>")
        expect(model(page, "toy").locator("img")).to_have_count(1)
        for link, seen in (("Behaviour report", "What dropout does"), ("Model card", "A card")):
            got: list[str] = []
            watch(page, got)
            model(page, "toy").get_by_role("link", name=link).click()
            expect(page.get_by_role("heading", name=seen)).to_be_visible()
            page.wait_for_load_state()
            assert page.title() != "ran"
            assert not [url for url in got if "localhost" in url or url.endswith("style.css")]
            page.goto(f"{client.base_url}/status")
        page.goto(f"{client.base_url}/models/toy/plots/plot.svg")
        assert page.evaluate("document.title") != "ran"


def test_a_model_without_files_offers_none(context: BrowserContext, serve: Serve, published: Path) -> None:
    with serve(models=published) as client:
        page = open_status(context.new_page(), client.base_url)
        expect(model(page, "toy")).to_contain_text("no model card")
        expect(model(page, "toy")).to_contain_text("no behaviour report")
        expect(model(page, "toy")).to_contain_text("Not evaluated.")
        expect(model(page, "toy").locator("img")).to_have_count(0)


# live


def test_requests_are_shown_recently_and_since_the_start(page: Page, running: Service) -> None:
    running.client.post("/uncertainty", json={"inputs": [DIGIT]})
    sampled = page.get_by_role("article", name="Uncertainty of digits, version 1")
    rows, asked = figure(sampled, "Rows sampled"), figure(page, "Requests a second")
    until_it_shows(rows.first, "{}", running, "dropserve_predictive_entropy_count")
    for _ in range(5):
        assert running.client.post("/uncertainty", json={"inputs": [DIGIT] * 4}).status_code == 200
    until_it_shows(rows.first, "{}", running, "dropserve_predictive_entropy_count")
    expect(rows.last).to_contain_text(re.compile(r"^2\d in the last \d+ s"))
    until_it_shows(asked.last, "{} since start", running, "dropserve_requests_total", "/predict", "/uncertainty")
    spoken = page.locator("#latency svg").get_attribute("aria-label") or ""
    assert spoken.startswith("Latency of all requests, the whole request")
    assert "now" in spoken
    for part in ("entropy", "information"):
        chart = sampled.locator(f"[data-part={part}] svg")
        assert re.search(r"to .*: .* %, now .* %", chart.get_attribute("aria-label") or "")
    reference = running.client.get("/v1/models/digits").json()["evaluation"]["mc"]["mutual_information"]
    expect(sampled.locator("[data-part=information]")).to_contain_text(f"mean of the test rows {reference:.3g}")


def until_it_shows(place: Locator, text: str, running: Service, name: str, *routes: str) -> None:
    """What was counted, read anew each time: an answer is counted after it was sent."""
    for _ in range(PATIENCE_MS // 200):
        if place.text_content() == text.format(counted(running, name, *routes)):
            return
        place.page.wait_for_timeout(200)
    expect(place).to_have_text(text.format(counted(running, name, *routes)))


def counted(running: Service, name: str, *routes: str) -> int:
    """The sum of a metric, over these routes, or else of the digits."""
    families = text_string_to_metric_families(running.client.get("/metrics").text)
    named = [sample for family in families for sample in family.samples if sample.name == name]
    label, wanted = ("route", routes) if routes else ("model", ("digits",))
    return int(sum(sample.value for sample in named if sample.labels[label] in wanted))


def test_the_figures_are_those_of_the_metrics(page: Page, running: Service) -> None:
    for _ in range(3):
        assert running.client.post("/predict", json={"inputs": [DIGIT]}).status_code == 200
    page.locator("#route").select_option("/predict")
    rows = page.locator("#latency tbody tr")
    expected = counted(running, "dropserve_request_seconds_count", "/predict")
    count = rows.filter(has_text="Since start").get_by_role("cell").first
    expect(count).to_have_text(str(expected), timeout=PATIENCE_MS)
    page.locator("#stage").select_option("run")
    expect(page.locator("#latency svg")).to_have_attribute(
        "aria-label", re.compile("^Latency of /predict, Run the network")
    )
    expect(page.locator("#stages svg")).to_have_attribute("aria-label", re.compile("Run the network .*(µs|ms)"))


def test_refusals_are_shown_with_their_reason(page: Page, running: Service) -> None:
    assert running.client.post("/predict", json={"inputs": [[1, 2]]}).status_code == 422
    row = page.locator("#refusals tbody tr").filter(has_text="422")
    expect(row).to_contain_text("a field has a wrong value", timeout=PATIENCE_MS)


def test_it_can_be_paused(watched: Watched, url: str) -> None:
    page, asked = watched.page, list[str]()
    page.clock.install(time=0)
    page.clock.pause_at(1000)  # the page's time stands still: it has polled once, and waits to poll again
    open_status(page, url)
    page.get_by_role("button", name="Pause").press("Enter")
    expect(page.get_by_role("button", name="Pause")).to_have_attribute("aria-pressed", "true")
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for("01:00")
    assert asked == []
    with page.expect_request(f"{url}/metrics"):
        page.get_by_role("button", name="Pause").press("Enter")


def test_several_workers_are_one_service(context: BrowserContext, published: Path, tmp_path: Path) -> None:
    with service(tmp_path, "--models", str(published), "--workers", "2") as running:
        page = open_status(context.new_page(), running.client.base_url)
        expect(page.locator("#since")).to_contain_text("2 workers, summed", timeout=PATIENCE_MS)
        for _ in range(20):
            with httpx.Client(base_url=running.client.base_url) as client:  # a new connection, so any worker
                assert client.post("/predict", json={"inputs": [[1, 2, 3, 4]]}).status_code == 200
        expect(figure(page, "Requests a second").last).to_contain_text("20 since start", timeout=PATIENCE_MS)


# away and back


def test_an_unreachable_service_is_shown_until_it_is_back(
    context: BrowserContext, published: Path, tmp_path: Path
) -> None:
    start = ("--models", str(published), "--port", str(free_port()))
    banner = context.new_page().locator("#away")
    with service(tmp_path, *start) as running:
        for _ in range(3):
            running.client.post("/predict", json={"inputs": [[1, 2, 3, 4]]})
        page = open_status(banner.page, running.client.base_url)
        expect(banner).to_be_hidden()
        expect(figure(page, "Requests a second").last).to_contain_text("3 since start", timeout=PATIENCE_MS)
    expect(banner).to_be_visible(timeout=PATIENCE_MS)
    expect(banner).to_contain_text("The service does not answer.")
    expect(page.get_by_role("status")).to_have_text("Unknown")
    expect(model(page, "toy")).to_be_visible()  # as it was, in grey
    with page.expect_request("**/metrics"):
        page.get_by_role("button", name="Try now").click()
    with service(tmp_path, *start) as running:
        running.client.post("/predict", json={"inputs": [[1, 2, 3, 4]]})
        expect(banner).to_be_hidden(timeout=PATIENCE_MS)
        expect(page.get_by_role("status")).to_have_text("Ready")
        expect(figure(page, "Requests a second").last).to_contain_text("1 since start", timeout=PATIENCE_MS)


# keys


def test_the_page_has_a_dialog_for_a_key_and_shows_files_with_it(
    context: BrowserContext, serve: Serve, evil: Path, tmp_path: Path
) -> None:
    secret, key = make_key("alice", "infer")
    (tmp_path / "keys").write_text(key.line() + "\n")
    with serve(models=evil, api_keys=tmp_path / "keys") as client:
        page = context.new_page()
        page.goto(f"{client.base_url}/status")
        for tried, said in (("ds_wrong", "a key is required"), (secret, "the key is not known")):
            expect(page.get_by_role("dialog")).to_contain_text(said)
            page.get_by_label("API key").fill(tried)
            page.get_by_role("button", name="Use it").click()
        expect(model(page, "toy").locator("img")).to_have_count(1)
        assert page.evaluate("Object.values(localStorage)") == []
        assert secret not in page.evaluate("document.cookie")
        for name, seen in (("Behaviour report", "What dropout does"), ("Model card", "A card")):
            page.get_by_role("link", name=name).click()
            frame = page.frame_locator("dialog iframe")
            expect(frame.get_by_role("heading", name=seen)).to_be_visible()
            assert page.title() == "Dropserve status"
            page.get_by_role("button", name="Close").click()
            expect(page.get_by_role("dialog")).to_have_count(0)
        page.get_by_role("link", name="Manifest").click()
        expect(page.locator("dialog pre")).to_contain_text('"task": "classification"')


@pytest.mark.parametrize(("path", "seen"), [("behaviour", "What dropout does"), ("versions/1/card", "A card")])
def test_a_file_opened_without_a_key_leads_to_it(
    context: BrowserContext, serve: Serve, evil: Path, tmp_path: Path, path: str, seen: str
) -> None:
    secret, key = make_key("alice", "infer")
    (tmp_path / "keys").write_text(key.line() + "\n")
    with serve(models=evil, api_keys=tmp_path / "keys") as client:
        page = context.new_page()
        answer = page.goto(f"{client.base_url}/models/toy/{path}")
        assert answer
        assert answer.status == 401
        page.get_by_role("link", name="Open it on the status page").click()
        page.get_by_label("API key").fill(secret)
        page.get_by_role("button", name="Use it").click()
        expect(page.frame_locator("dialog iframe").get_by_role("heading", name=seen)).to_be_visible()


@pytest.mark.parametrize("named", ["../metrics", "models/toy/files", "//elsewhere/models/toy/card", "models/../card"])
def test_nothing_else_is_opened_by_an_address(context: BrowserContext, url: str, named: str) -> None:
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.headers.get("accept", "")))
    page.goto(f"{url}/status#{named}")
    expect(page.locator("#models > *").first).to_be_visible()
    assert "text/html, application/json" not in asked
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_what_has_gone_is_let_go(context: BrowserContext, serve: Serve, tmp_path: Path) -> None:
    for name in ("stays", "goes"):
        ToyNet().publish(tmp_path, name=name)
    with serve(models=tmp_path, watch=False) as client:
        page = open_status(context.new_page(), client.base_url)
        kept = page.evaluate(REMEMBER, "before")
        assert kept == {"drawn": ["goes", "stays"], "references": ["goes/1", "stays/1"]}
        ToyNet(seed=2).publish(tmp_path, name="stays", version=2)
        shutil.rmtree(tmp_path / "goes")
        shutil.rmtree(tmp_path / "stays" / "1")
        client.post("/v1/models/refresh")
        assert page.evaluate(REMEMBER, "after") == {"drawn": ["stays"], "references": ["stays/2"]}


# for everyone


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_it_is_accessible_and_fits(
    browser: Browser, running: Service, scheme: Literal["light", "dark"], width: int, height: int
) -> None:
    running.client.post("/uncertainty", json={"inputs": [DIGIT]})
    running.client.post("/predict", json={"inputs": [[1]]})
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    try:
        page = open_status(context.new_page(), running.client.base_url)
        expect(page.locator("#refusals tbody tr").first).to_be_visible(timeout=PATIENCE_MS)
        expect(page.locator("#speed svg")).to_be_visible(timeout=PATIENCE_MS)
        page.get_by_text(re.compile("more metrics")).first.click()
        assert barriers(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == width
    finally:
        context.close()


def test_it_works_below_a_prefix(context: BrowserContext, url: str) -> None:
    """As behind a proxy that takes the prefix off."""
    page = context.new_page()
    page.route(
        "**/below/a/prefix/**",
        lambda route: route.fulfill(response=route.fetch(url=route.request.url.replace("/below/a/prefix", ""))),
    )
    open_status(page, f"{url}/below/a/prefix")
    expect(model(page, "digits").locator("img")).to_have_count(2)
    assert (
        page.get_by_role("link", name="Model card")
        .first.evaluate("one => one.href")
        .startswith(f"{url}/below/a/prefix/models/")
    )


def test_the_pages_lead_to_each_other(page: Page, url: str) -> None:
    for name, path in (("Playground", "/"), ("Status", "/status"), ("API", "/docs")):
        page.get_by_role("navigation").get_by_role("link", name=name).click()
        expect(page).to_have_url(f"{url}{path}")
        if path != "/docs":
            assert page.get_by_role("navigation").locator("[aria-current=page]").inner_text() == name


def test_an_answer_that_makes_no_sense_does_not_end_the_page(context: BrowserContext, url: str) -> None:
    page = open_status(context.new_page(), url)
    page.route("**/readyz", lambda route: route.fulfill(body="null"), times=1)
    expect(page.locator("#away-text")).to_contain_text("is not understood")
    expect(page.locator("#away")).to_be_hidden()
    expect(page.locator("#ready")).to_have_text("Ready")
