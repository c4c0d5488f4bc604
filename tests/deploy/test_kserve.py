"""The runtime and the service for KServe: KServe knows all their fields, they fit each other, and models that lie as
KServe's own storage initializer lays them are served.

What needs KServe runs in another Python, KSERVE_PYTHON, with kserve[storage].
"""

import copy
import functools
import http.server
import json
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.conftest import KSERVE, Rendered, Resource, container_of, environment_of
from tests.service.processes import service

PYTHON = os.environ.get("KSERVE_PYTHON", "")
needs_kserve = pytest.mark.skipif(not PYTHON, reason="KSERVE_PYTHON names no Python that has kserve[storage]")
HERE = Path(__file__).parent


@pytest.fixture
def runtime(rendered: Rendered) -> Resource:
    return rendered(KSERVE)["ServingRuntime"]


@pytest.fixture
def predictor(rendered: Rendered) -> Resource:
    model: Resource = rendered(KSERVE)["InferenceService"]["spec"]["predictor"]["model"]
    return model


@needs_kserve
def test_kserve_knows_every_field(rendered: Rendered) -> None:
    resources = list(rendered(KSERVE).values())
    assert {one["kind"] for one in resources} == {"ServingRuntime", "InferenceService"}
    assert find_faults(resources) == []


@needs_kserve
def test_a_misspelt_field_and_a_wrong_type_would_be_found(rendered: Rendered) -> None:
    runtime = copy.deepcopy(rendered(KSERVE)["ServingRuntime"])
    runtime["spec"]["protocolVersion"] = "v2"
    runtime["spec"]["containers"][0]["env"][0]["value"] = 8080
    assert [fault.split(":")[0] for fault in find_faults([runtime])] == [
        "ServingRuntime.spec.containers.0.env.0.value",
        "ServingRuntime.spec.protocolVersion",
    ]


def find_faults(resources: list[Resource]) -> list[str]:
    command = [PYTHON, str(HERE / "kserve_fields.py")]
    faults: list[str] = json.loads(subprocess.check_output(command, input=json.dumps(resources), text=True))
    return faults


def test_the_service_requests_what_the_runtime_offers(runtime: Resource, predictor: Resource) -> None:
    assert predictor["runtime"] == runtime["metadata"]["name"]
    formats = {one["name"] for one in runtime["spec"]["supportedModelFormats"]}
    assert formats == {"dropserve"} == {predictor["modelFormat"]["name"]}
    assert runtime["spec"]["protocolVersions"] == ["v2", "grpc-v2"]
    assert predictor["protocolVersion"] in runtime["spec"]["protocolVersions"]


def test_the_runtime_keeps_to_kserves_conventions(rendered: Rendered, runtime: Resource) -> None:
    container, settings = container_of(rendered(KSERVE)), environment_of(rendered(KSERVE))
    assert container["name"] == "kserve-container"
    assert settings["DROPSERVE_MODELS"] == "/mnt/models"
    assert settings["DROPSERVE_PORT"] == runtime["spec"]["annotations"]["prometheus.kserve.io/port"] == "8080"
    assert {container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("liveness", "readiness")} == {8080}
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in runtime["spec"]["volumes"]}


@pytest.fixture
def archive(published: Path, tmp_path: Path) -> Iterator[str]:
    """The URL of an archive of models."""
    store = tmp_path / "store"
    store.mkdir()
    with tarfile.open(store / "models.tar.gz", "w:gz") as tar:
        for folder in published.iterdir():
            tar.add(folder, folder.name)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(store))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/models.tar.gz"
        server.shutdown()


@needs_kserve
@pytest.mark.parametrize("kind", ["archive", "folder"])
def test_models_that_kserve_lays_are_served(
    rendered: Rendered, published: Path, archive: str, tmp_path: Path, kind: str
) -> None:
    """Copies from an archive; links, as KServe makes them for a folder of the node."""
    mounted = tmp_path / "mnt" / "models"
    mounted.mkdir(parents=True)
    uri = archive if kind == "archive" else f"file://{published}"
    subprocess.run([PYTHON, HERE / "kserve_storage_initializer.py", uri, mounted], check=True, capture_output=True)
    shown = environment_of(rendered(KSERVE)) | {"DROPSERVE_MODELS": str(mounted), "DROPSERVE_GRPC_PORT": "0"}
    with service(tmp_path, **shown) as running:
        for kind in ("liveness", "readiness"):
            path = container_of(rendered(KSERVE))[f"{kind}Probe"]["httpGet"]["path"]
            assert running.client.get(path).status_code == 200
        tensor = {"name": "input", "shape": [1, 4], "datatype": "FP32", "data": [0.5] * 4}
        answer = running.client.post("/v2/models/toy/infer", json={"inputs": [tensor]})
        assert answer.status_code == 200, answer.text
        assert answer.json()["model_version"] == "2"
