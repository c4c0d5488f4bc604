"""Rows of other forms than named values and small pictures: colours, and several inputs."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from playwright.sync_api import expect
from torch import Tensor, nn

from tests.browser.conftest import Watched
from tests.browser.playground import Playground
from tests.service.processes import Service, service
from training.publish.release import publish_module


class Pair(nn.Module):
    """Takes two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.layers(left + right)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of a classifier of coloured pictures, and of a network of two inputs."""
    models = tmp_path_factory.mktemp("kinds")
    torch.manual_seed(0)
    colours = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Dropout2d(0.5), nn.Flatten(), nn.Linear(6 * 6 * 4, 3))
    publish_module(colours, (torch.rand(8, 3, 8, 6),), name="colours", models=models, labels=("a", "b", "c"))
    example = (torch.rand(8, 3), torch.rand(8, 3))
    publish_module(Pair(), example, name="pairs", models=models, input_names=("left", "right"))
    with service(tmp_path_factory.mktemp("service"), "--models", str(models)) as running:
        yield running


@pytest.fixture
def playground(watched: Watched, running: Service) -> Playground:
    return Playground(watched.page, str(running.client.base_url))


def test_coloured_pictures_are_shown_and_sent_as_they_are(playground: Playground, running: Service) -> None:
    asked: list[Any] = []
    playground.page.on("request", lambda request: asked.append(request.post_data_json))
    playground.example(2)
    (sent,) = asked[-1]["inputs"]
    row = running.client.get("/v1/models/colours/examples").json()["inputs"][1]
    assert sent == [[pytest.approx(line, abs=1e-4) for line in channel] for channel in row]
    playground.slide("Drop pixels", 1)
    (sent,) = asked[-1]["inputs"]
    assert len({value for channel in sent for line in channel for value in line}) == 1


def test_channels_are_dropped(playground: Playground) -> None:
    before = playground.shown()
    expect(playground.page.locator(".site .card-head")).to_contain_text("0 of 6 dropped")
    playground.slide("Drop a fraction", 0.5)
    expect(playground.page.locator(".site .card-head")).to_contain_text("3 of 6 dropped")
    assert playground.shown() != before


def test_rows_of_several_inputs_are_written_as_json(playground: Playground, watched: Watched) -> None:
    playground.model("pairs")
    before = playground.shown()
    area = playground.page.get_by_label("The row, as JSON")
    area.fill('{"left": [1, 2, 3], "right": [4, 5')
    expect(playground.page.get_by_text("This is not JSON")).to_be_visible()
    area.fill('{"left": [1, 2, 3], "right": [4, 5, 6]}')
    playground.settle()
    expect(playground.page.get_by_text("This is not JSON")).to_be_hidden()
    assert playground.shown() != before
    area.fill("null")
    expect(playground.page.locator("[data-field=inputs]")).to_be_visible()
    watched.complaints.clear()  # the browser itself tells of the status 422
    area.fill('{"left": [1, 2, 3], "right": [4, 5, 6]}')
    expect(playground.page.locator("[data-field=inputs]")).to_be_hidden()
