"""What the tests share: the toy net, a folder it is published in, and real servers."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import hypothesis
import pytest
import uvicorn

from service.access.calls import ASGIApp
from service.config import Settings
from service.http.app import create_app
from service.http.connection import Connection
from service.model.manifest import Manifest
from tests.toy import ToyNet

# the machine may be busy: how long an input takes to make, or a test to run, says nothing
hypothesis.settings.register_profile(
    "dropserve", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("dropserve")

Serve = Callable[..., AbstractContextManager[httpx.Client]]

PATIENCE = 30.0
"""Seconds to wait for what must happen; a test that runs into it fails."""


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests must not change them."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DROPSERVE_{name.upper()}", raising=False)


@pytest.fixture(scope="session")
def toy() -> ToyNet:
    return ToyNet()


@pytest.fixture(scope="session")
def manifest(toy: ToyNet) -> Manifest:
    return toy.manifest()


@pytest.fixture(scope="session")
def published(toy: ToyNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models: versions 1 and 2 of toy, and a regression. Not to be changed."""
    models = tmp_path_factory.mktemp("models")
    toy.publish(models)
    ToyNet(seed=1).publish(models, version=2)
    ToyNet(seed=2, outputs=1).publish(models, name="yield", task="regression", labels=(), noise={"std": 0.3})
    return models


@pytest.fixture(scope="session")
def client(published: Path) -> Iterator[httpx.Client]:
    """Of a server of all published models, with the settings that everyone gets."""
    with running_server(create_app(Settings(models=published))) as client:
        yield client


@pytest.fixture
def serve() -> Serve:
    """Start a server: `with serve(models=…, queue_size=1) as client`."""
    return lambda **settings: running_server(create_app(Settings(**settings)))


@contextmanager
def running_server(app: ASGIApp, ready: str = "/readyz", certificate: Path | None = None) -> Iterator[httpx.Client]:
    """A real server on a free port, over TLS where it has a certificate, and a client of it once it has been through
    its models.
    """
    config = uvicorn.Config(app, port=0, http=Connection, ssl_certfile=certificate, log_config=None, access_log=False)
    scheme = "https" if certificate else "http"
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    thread.start()
    try:
        url = f"{scheme}://127.0.0.1:{socket.getsockname()[1]}"
        with httpx.Client(base_url=url, timeout=PATIENCE, verify=certificate is None) as client:
            wait_until(lambda: server.started)
            wait_until(lambda: "being loaded" not in client.get(ready).text)
            yield client
    finally:
        server.should_exit = True
        thread.join()


async def answer_lifespan(receive: Any, send: Any) -> None:
    """Start and stop an ASGI application that has nothing to start."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


def wait_until(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait for something that another thread or process is about to bring about."""
    end = monotonic() + patience
    while not condition():
        assert monotonic() < end, f"not so within {patience} s"
        sleep(0.005)
