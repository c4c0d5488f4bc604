"""The images, built and run as docker-compose.yml says."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import trustme
from tritonclient.grpc import InferenceServerClient

from service.access.keys import make_key
from tests.conftest import wait_until
from tests.e2e.containers import REQUIRED, Project, project, require_engine
from tests.toy import ToyNet

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

SERVICE_USER = 10001


@pytest.fixture(scope="module", autouse=True)
def _engine() -> None:
    require_engine()


@pytest.fixture(scope="module")
def served(toy: ToyNet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The service in its container, healthy, with the toy model."""
    folder = tmp_path_factory.mktemp("container")
    toy.publish(folder / "models")
    with project(folder / "models", folder) as one:
        one.compose("up", "--build", "--wait")
        yield one


@pytest.fixture(scope="module")
def client(served: Project) -> Iterator[httpx.Client]:
    with served.client() as client:
        yield client


def test_answers_are_those_of_the_model(client: httpx.Client, toy: ToyNet) -> None:
    rows = toy.rows(3)
    reply = client.post("/predict", json={"inputs": rows.tolist()}).raise_for_status().json()
    logits = toy.predict(rows) / toy.manifest().temperature
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = [row["probabilities"] for row in reply["predictions"]]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_same_seed_gives_the_same_bytes(client: httpx.Client, toy: ToyNet) -> None:
    asked = {"inputs": toy.rows(2).tolist(), "samples": 50}
    first, again, other = (client.post("/uncertainty", json=asked | {"seed": seed}) for seed in (7, 7, 8))
    assert first.raise_for_status().content == again.content
    assert first.json()["predictions"] != other.raise_for_status().json()["predictions"]


def test_process_has_no_privileges(served: Project) -> None:
    status = served.inside("print(open('/proc/1/status').read())").stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == [str(SERVICE_USER)] * 4
    assert fields["Gid"].split() == [str(SERVICE_USER)] * 4
    assert all(int(fields[name], 16) == 0 for name in ("CapPrm", "CapEff", "CapBnd"))
    assert fields["NoNewPrivs"] == "1"


def test_memory_processes_and_logs_are_bounded(served: Project) -> None:
    [bounds] = json.loads(_docker("inspect", "--format", "[{{json .HostConfig}}]", served.container()))
    assert (bounds["Memory"], bounds["PidsLimit"]) == (4 * 2**30, 1024)
    assert bounds["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "5"}


@pytest.mark.parametrize("place", ["/file", "/app/file", "/models/file"])
def test_nothing_can_be_written(served: Project, place: str) -> None:
    done = served.inside(f"open({place!r}, 'a')")
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr


def test_only_tmp_can_be_written(served: Project) -> None:
    assert served.inside("open('/tmp/file', 'w')").returncode == 0


def test_settings_of_the_host_are_those_of_the_service(toy: ToyNet, tmp_path: Path) -> None:
    toy.publish(tmp_path / "models")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    secret, key = make_key("tester", "infer")
    (tmp_path / "keys").write_text(key.line())
    for name in ("cert.pem", "key.pem", "keys"):
        (tmp_path / name).chmod(0o644)
    files = {
        "DROPSERVE_SSL_CERTFILE": tmp_path / "cert.pem",
        "DROPSERVE_SSL_KEYFILE": tmp_path / "key.pem",
        "DROPSERVE_API_KEYS": tmp_path / "keys",
    }
    asked = {"inputs": toy.rows(1).tolist(), "samples": 5}
    with project(
        tmp_path / "models", tmp_path, DROPSERVE_SEED="5", **{name: str(files[name]) for name in files}
    ) as one:
        one.compose("up", "--build", "--wait")
        with one.client("https") as client:
            assert client.post("/uncertainty", json=asked).status_code == 401
            reply = client.post("/uncertainty", json=asked, headers={"x-api-key": secret})
            # process 1 of the container, which signals without a handler do not reach
            renewed, key = make_key("tester", "infer")
            (tmp_path / "keys").write_text(key.line())
            _docker("kill", "--signal", "HUP", one.container())
            wait_until(lambda: client.get("/v1/models", headers={"x-api-key": renewed}).status_code == 200)
            assert client.get("/v1/models", headers={"x-api-key": secret}).status_code == 401
    assert reply.raise_for_status().json()["seed"] == 5


def test_it_speaks_grpc_where_a_port_is_set(toy: ToyNet, tmp_path: Path) -> None:
    toy.publish(tmp_path / "models")
    with project(tmp_path / "models", tmp_path, DROPSERVE_GRPC_PORT="0") as one:
        one.compose("up", "--build", "--wait")
        with InferenceServerClient(one.address(8001)) as client:
            assert client.is_server_ready()
            assert client.is_model_ready("toy")


@pytest.mark.parametrize("module", ["s3fs", "gcsfs", "aiohttp", "grpc", "opentelemetry.sdk"])
def test_stores_and_collectors_can_be_reached(served: Project, module: str) -> None:
    assert served.inside(f"import {module}").returncode == 0


def test_without_models_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with project(tmp_path / "models", tmp_path) as one:
        one.compose("up", "--build", "--detach")
        with one.client() as client:
            wait_until(lambda: "there is no model in /models" in _text(client))


def test_damaged_model_is_unhealthy_and_says_why(toy: ToyNet, tmp_path: Path) -> None:
    graph = toy.publish(tmp_path / "models") / "predict.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"!")
    with project(tmp_path / "models", tmp_path) as one:
        up = one.compose("up", "--build", "--wait", check=False)
        assert up.returncode != 0
        assert "unhealthy" in up.stderr
        with one.client() as client:
            refusal = client.get("/readyz")
            assert client.get("/healthz").status_code == 200
    assert refusal.status_code == 503
    assert "predict.onnx" in refusal.json()["error"]["details"]["failures"]["toy/1"]


@pytest.mark.skipif(not REQUIRED, reason="downloads torch, several GB on Linux; REQUIRE_DOCKER=1 asks for it")
def test_training_publishes_what_the_service_serves(tmp_path: Path) -> None:
    """Whoever owns the folder of models, training may write there and the service may read it."""
    models = tmp_path / "models"
    models.mkdir()
    owners = [0, 1000] if os.getuid() == 0 else [os.getuid()]
    with project(models, tmp_path) as one:
        one.compose("--profile", "training", "build", "training")
        for owner in owners:
            _give(models, owner)
            said = one.compose("run", "--rm", "training", "train", "--epochs", "2", "--hidden", "32,32").stdout
            assert said.endswith("\n  docker compose up\n")
            assert {path.stat().st_uid for path in models.rglob("*")} == {owner}
        one.compose("up", "--build", "--wait")
        with one.client() as client:
            assert client.get("/readyz").json()["models"] == {"digits": [*range(1, len(owners) + 1)]}
            client.post("/uncertainty", json={"inputs": [[0] * 64], "samples": 10}).raise_for_status()


def test_told_to_stop_it_finishes_what_it_has_begun(served: Project, toy: ToyNet) -> None:
    """Last, for it stops the service that the others share."""
    body = json.dumps({"inputs": toy.rows(1).tolist()}).encode()
    with served.client() as client, _begin_request(client.base_url, len(body)) as connection:
        _docker("kill", "--signal", "TERM", served.container())
        wait_until(lambda: _text(client) == "")
        connection.sendall(body)
        assert connection.recv(2**16).startswith(b"HTTP/1.1 200 ")
    assert _docker("wait", served.container()) == "0"


def _begin_request(url: httpx.URL, length: int) -> socket.socket:
    """A request whose body the service is waiting for, as it says itself."""
    connection = socket.create_connection((url.host, url.port), timeout=30)
    head = f"POST /predict HTTP/1.1\r\nhost: {url.host}\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\r\n"
    connection.sendall(head.encode())
    assert connection.recv(2**10).startswith(b"HTTP/1.1 100 ")
    return connection


def _give(folder: Path, owner: int) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner, -1)


def _text(client: httpx.Client) -> str:
    """What the service says of its readiness; nothing when it takes no connections."""
    try:
        return client.get("/readyz", headers={"connection": "close"}).text
    except httpx.TransportError:
        return ""


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()
