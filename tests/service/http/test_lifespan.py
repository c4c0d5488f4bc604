"""Start and stop by ASGI's messages, also on servers that share no state."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.access.calls import Message, Receive, Scope, Send
from service.http.lifespan import Lifespan, State

steps: list[str] = []


async def no_app(_: Scope, __: Receive, ___: Send) -> None:
    raise NotImplementedError


@asynccontextmanager
async def life() -> AsyncIterator[State]:
    steps.append("entered")
    yield {"answer": 42}
    steps.append("left")


@asynccontextmanager
async def no_life() -> AsyncIterator[State]:
    if steps == ["received"]:
        raise ZeroDivisionError("of ours")
    yield {}


async def run(app: Lifespan, scope: Scope) -> list[Message]:
    """What the app sends, step by step."""
    sent: list[Message] = []

    async def receive() -> Message:
        steps.append("received")
        return {}

    async def send(message: Message) -> None:
        steps.append(message["type"])
        sent.append(message)

    steps.clear()
    try:
        await app({"type": "lifespan", **scope}, receive, send)
    except ZeroDivisionError:
        steps.append("raised")
    return sent


@pytest.mark.parametrize("scope", [{}, {"state": {"of": "the server"}}])
def test_its_context_lives_from_start_to_stop(scope: Scope) -> None:
    asyncio.run(run(Lifespan(no_app, life), scope))
    started, stopped = "lifespan.startup.complete", "lifespan.shutdown.complete"
    assert steps == ["received", "entered", started, "received", "left", stopped]
    assert scope.get("state") in (None, {"of": "the server", "answer": 42})


def test_a_failed_start_is_reported_and_raised() -> None:
    [failed] = asyncio.run(run(Lifespan(no_app, no_life), {}))
    assert failed["type"] == "lifespan.startup.failed"
    assert "ZeroDivisionError: of ours" in failed["message"]
    assert steps[-1] == "raised"
