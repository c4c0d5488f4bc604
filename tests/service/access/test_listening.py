"""Where the service listens: addresses of both families, and what is said of those that cannot be had."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from tritonclient.grpc import InferenceServerClient
from typer.testing import CliRunner

from service.__main__ import cli
from service.access.listening import bind, find_port, is_loopback
from service.config import InvalidSettings
from tests.conftest import PATIENCE
from tests.ports import free_port
from tests.service.processes import service


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_two_colons_are_all_addresses_of_both_families(tmp_path: Path, published: Path, workers: str) -> None:
    grpc_port = free_port()
    options = ("--host", "::", "--workers", workers, "--models", str(published))
    with service(tmp_path, *options, DROPSERVE_GRPC_PORT=str(grpc_port)) as running:
        for address in ("127.0.0.1", "[::1]"):
            assert httpx.get(f"http://{address}:{running.client.base_url.port}/readyz").status_code == 200
            with InferenceServerClient(f"{address}:{grpc_port}") as client:
                assert client.is_server_ready()


@pytest.mark.parametrize(
    ("host", "families"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("::1", ["::1"]),
        ("::", ["127.0.0.1", "::1"]),
        ("0.0.0.0", ["127.0.0.1"]),
    ],
)
def test_an_address_is_listened_on_and_no_other(host: str, families: list[str]) -> None:
    assert reached_by(host) == families


def test_localhost_is_listened_on_at_all_its_addresses() -> None:
    """Which they are, the machine says."""
    named = {str(address[0]) for *_, address in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
    assert set(reached_by("localhost")) == named


def reached_by(host: str) -> list[str]:
    """The loopback addresses that are listened on."""
    reached = []
    with ExitStack() as stack:
        sockets = [stack.enter_context(each) for each in bind(host, 0)]
        for each in sockets:
            each.listen()
        for address in ("127.0.0.1", "::1"):
            with suppress(ConnectionRefusedError):
                socket.create_connection((address, find_port(sockets)), PATIENCE).close()
                reached.append(address)
    return reached


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("nowhere.invalid", "expected an address of this machine or a name of it"),
        ("http://0.0.0.0", "without scheme and port"),
        ("127.0.0.1:8000", "without scheme and port"),
        ("x" * 70 + ".example", "expected an address of this machine or a name of it"),
        ("192.0.2.1", "expected an address of this machine, found '192.0.2.1'"),
        ("2001:db8::1", "expected an address of this machine, found '2001:db8::1'"),
    ],
)
def test_an_address_that_is_none_of_this_machine_is_named(host: str, reason: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        bind(host, 0)
    assert reason in caught.value.reasons["host"]


def test_all_that_cannot_be_had_ends_the_start_at_once_and_is_named(taken: int, tmp_path: Path) -> None:
    environment = {
        "DROPSERVE_GRPC_PORT": str(taken),
        "DROPSERVE_API_KEYS": str(tmp_path / "keys"),
        "DROPSERVE_SSL_CERTFILE": str(tmp_path / "certificate"),
        "DROPSERVE_PREDICTION_LOG": "mysql://host",
    }
    result = CliRunner().invoke(cli, ["serve", "--port", str(taken)], env=environment)
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        "DROPSERVE_SSL_CERTFILE",
        "DROPSERVE_GRPC_PORT",
        "DROPSERVE_API_KEYS",
        "DROPSERVE_PREDICTION_LOG",
        "--port",
    ]
    assert f"expected another port than that of HTTP, found {taken}" in lines[1]
    assert f"expected a free port, found {taken}" in lines[4]


def test_a_grpc_port_that_is_taken_is_not_shared(taken: int) -> None:
    result = CliRunner().invoke(cli, ["serve", "--port", "0"], env={"DROPSERVE_GRPC_PORT": str(taken)})
    assert result.exit_code == 1
    assert f"DROPSERVE_GRPC_PORT: expected a free port, found {taken}" in result.output


@pytest.mark.parametrize(
    ("host", "expected"), [("127.0.0.2", True), ("::1", True), ("localhost", True), ("::", False), ("example", False)]
)
def test_only_this_machine_reaches_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
