"""What an idle service does not import, and how it is imported once it is needed."""

import asyncio
import subprocess
import sys
from pathlib import Path

from service.access.calls import ASGIApp, Message, Receive, Scope, Send
from service.http.deferred import Deferred

SCRIPT = """
import sys
from service.config import Settings
from service.http.app import create_app
from tests.conftest import running_server

def imported():
    names = ["fastapi", "starlette", "markdown_it", "pyarrow", "grpc", "service.api.schemas"]
    return [name for name in names if name in sys.modules]

with running_server(create_app(Settings(models=sys.argv[1]))) as client:
    for path in ("healthz", "readyz", "metrics", "v2/health/ready", "v2/models/toy"):
        client.get(path).raise_for_status()
    client.post("v2/models/toy/infer", json={})
    client.post("predict", json={})
    first = imported()
    client.get("v1/models").raise_for_status()
    second = imported()
    client.get("openapi.json").raise_for_status()
    print(first, second, imported(), sep="; ")
"""


def test_inference_and_monitoring_import_nothing_of_the_pages(published: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(published)], capture_output=True, text=True, check=False)
    last = done.stdout.splitlines()[-1:]
    assert last == ["[]; ['fastapi', 'starlette']; ['fastapi', 'starlette', 'service.api.schemas']"], done.stderr


def test_the_supervisor_of_workers_imports_no_application() -> None:
    script = "import sys, service.__main__, service.http.server, service.http.supervisor; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"fastapi", "onnxruntime", "service.http.app"} & set(done.stdout.split())


def test_it_is_made_once_for_requests_at_the_same_time() -> None:
    made: list[ASGIApp] = []
    answered: list[Scope] = []

    async def app(scope: Scope, _: Receive, __: Send) -> None:
        answered.append(scope)

    def make() -> ASGIApp:
        made.append(app)
        return app

    async def ask() -> None:
        deferred = Deferred(make)
        await asyncio.gather(*(deferred({"number": number}, receive, send) for number in range(3)))

    asyncio.run(ask())
    assert len(made) == 1
    assert [scope["number"] for scope in answered] == [0, 1, 2]


def test_the_next_request_tries_again_after_an_error() -> None:
    async def app(scope: Scope, _: Receive, __: Send) -> None:
        scope["answered"] = True

    tries: list[int] = []

    def make() -> ASGIApp:
        tries.append(1 // len(tries))
        return app

    async def ask() -> Scope:
        deferred = Deferred(make)
        scope: Scope = {}
        for _ in range(2):
            try:
                await deferred(scope, receive, send)
            except ZeroDivisionError:
                tries.append(0)
                scope["failed"] = True
        return scope

    assert asyncio.run(ask()) == {"failed": True, "answered": True}


async def receive() -> Message:
    raise NotImplementedError


async def send(_: Message) -> None:
    raise NotImplementedError
