"""The service on Ray Serve: the same routes, and a large answer from several samplers, one of which dies."""

import os
import secrets
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from pydantic import ValidationError

from tests.conftest import Serve, wait_until
from tests.deploy.ray_cluster import ROOT, command, processes, ray_cluster
from tests.ports import free_port
from tests.toy import ToyNet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

imports_serve = pytest.mark.filterwarnings(
    "ignore:Using extra keyword arguments on `Field`:pydantic.warnings.PydanticDeprecatedSince20"
)
"""Ray Serve's own settings are written in a way that pydantic warns of."""
APP = f"dropserve-{secrets.token_hex(4)}"
"""Its processes bear the name, so no other's are taken for them."""
SAMPLERS = 3
NET = ToyNet(hidden=4096, outputs=10)
"""Wide enough to be worth sharing."""
LARGE = {"inputs": NET.rows(5000).tolist(), "samples": 200, "quantiles": [0.1]}
DEEP = {"inputs": NET.rows(1).tolist(), "samples": 1_000_000}
TICK = 1 / os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    NET.publish(folder)
    return folder


@pytest.fixture(scope="module")
def client(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Of the application of `serve.yaml` on two nodes, with less for each replica."""
    config = yaml.safe_load((ROOT / "deploy/ray/serve.yaml").read_text())
    config["http_options"]["port"] = free_port()
    config["applications"][0]["name"] = APP
    config["applications"][0]["args"] = {
        "settings": {"models": str(models), "max_samples": 1_000_000, "request_timeout": 120},
        "ingress": {"max": 1, "num_cpus": 0.2},
        "samplers": {"min": SAMPLERS, "max": SAMPLERS, "num_cpus": 0.2},
    }
    folder = tmp_path_factory.mktemp("serve")
    (folder / "serve.yaml").write_text(yaml.safe_dump(config))
    base = f"http://127.0.0.1:{config['http_options']['port']}"
    serve = Path(sys.executable).with_name("serve")
    with (
        ray_cluster(nodes=2, cpus=1) as cluster,
        command(folder / "log", serve, "run", folder / "serve.yaml", RAY_ADDRESS=cluster.address) as process,
        httpx.Client(base_url=base, timeout=120) as client,
    ):
        wait_until(lambda: is_ready(client) or process.poll() is not None, patience=120)
        assert process.poll() is None, (folder / "log").read_text()
        yield client


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200 and len(samplers()) == SAMPLERS
    except httpx.TransportError:
        return False


def samplers() -> list[int]:
    return processes(f"ServeReplica:{APP}:Sampler")


def processor_seconds(process: int) -> float:
    """That it has used until now."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return TICK * (int(fields[11]) + int(fields[12]))


def answer_of_one_machine(serve: Serve, models: Path, body: dict[str, Any]) -> bytes:
    with serve(models=models, max_samples=1_000_000) as client:
        return client.post("/uncertainty", json=body).raise_for_status().content


@imports_serve
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"samplers": {"min": 3, "max": 2}}, "max: expected at least min, 3, found 2"),
        ({"samplers": {"num_cpus": 0}}, "samplers.num_cpus"),
        ({"sampler": {"min": 3}}, "sampler\n"),
        ({"settings": {"max_row": 3}}, "max_row\n"),
    ],
)
def test_arguments_that_there_are_not_are_refused(arguments: dict[str, Any], expected: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
    from deploy.ray.app import Arguments, app

    with pytest.raises(ValidationError) as caught:
        app(Arguments.model_validate(arguments))
    assert expected in str(caught.value)


@imports_serve
def test_the_file_has_arguments_that_there_are() -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
    from deploy.ray.app import Arguments, app

    [application] = yaml.safe_load((ROOT / "deploy/ray/serve.yaml").read_text())["applications"]
    assert application["import_path"] == f"{app.__module__}:{app.__name__}"
    app(Arguments.model_validate(application["args"]))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
        ("GET", "/"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("GET", "/v1/models"),
        ("GET", "/v2"),
        ("GET", "/v2/models/toy"),
        ("POST", "/v2/repository/index"),
    ],
)
def test_every_route_is_there(client: httpx.Client, method: str, path: str) -> None:
    reply = client.request(method, path, follow_redirects=True)
    assert reply.status_code == 200, reply.text
    assert reply.headers["x-request-id"]


def test_small_answers_are_those_of_the_service(client: httpx.Client, serve: Serve, models: Path) -> None:
    body = {"inputs": NET.rows(3).tolist()}
    v2 = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [3, 4], "data": body["inputs"]}]}
    with serve(models=models) as local:
        for path, asked in {"/predict": body, "/uncertainty": body, "/v2/models/toy/infer": v2}.items():
            assert client.post(path, json=asked).content == local.post(path, json=asked).content


def test_refusals_are_those_of_the_service(client: httpx.Client) -> None:
    reply = client.post("/predict", json={"inputs": [[1]]})
    assert reply.status_code == 422
    assert reply.json()["error"]["code"] == "invalid_input"
    assert client.post("/v1/models/nobody/predict", json={"inputs": [[1]]}).status_code == 404
    late = client.post("/uncertainty", json=DEEP, headers={"X-Request-Timeout": "0.02"})
    assert late.json()["error"]["code"] == "deadline_exceeded"


@pytest.mark.parametrize("body", [LARGE, DEEP], ids=["many rows", "many passes"])
def test_a_large_answer_comes_from_several_samplers(
    client: httpx.Client, serve: Serve, models: Path, body: dict[str, Any]
) -> None:
    before = {process: processor_seconds(process) for process in samplers()}
    answer = client.post("/uncertainty", json=body).raise_for_status().content
    used = [processor_seconds(process) - seconds for process, seconds in before.items()]
    assert len(used) == SAMPLERS
    assert min(used) > 0.1
    assert answer == answer_of_one_machine(serve, models, body)


def test_a_dead_sampler_costs_no_answer(client: httpx.Client, serve: Serve, models: Path) -> None:
    victim = samplers()[0]
    before = processor_seconds(victim)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(client.post, "/uncertainty", json=LARGE)
        wait_until(lambda: processor_seconds(victim) > before + 0.1)
        assert not asked.done()
        os.kill(victim, signal.SIGKILL)
        answer = asked.result().raise_for_status().content
    assert answer == answer_of_one_machine(serve, models, LARGE)
    wait_until(lambda: len(samplers()) == SAMPLERS, patience=120)


def test_when_no_sampler_is_left_the_answer_still_comes(client: httpx.Client, serve: Serve, models: Path) -> None:
    for process in samplers():
        os.kill(process, signal.SIGKILL)
    answer = client.post("/uncertainty", json=LARGE).raise_for_status().content
    assert answer == answer_of_one_machine(serve, models, LARGE)
