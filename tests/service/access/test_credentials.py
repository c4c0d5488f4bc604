"""SIGHUP: keys and certificates are read again, and connections that are open go on."""

import signal
import socket
import ssl
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from service.access.certificate import InvalidCertificate, open_certificate
from service.access.keys import make_key
from service.config import Settings
from tests.conftest import wait_until
from tests.ports import free_port
from tests.service.processes import Service, service


class Files(NamedTuple):
    """What the service reads again."""

    keys: Path
    certificate: Path

    def write_key(self, name: str) -> str:
        secret, key = make_key(name, "infer")
        self.keys.write_text(key.line())
        return secret

    def write_certificate(self, authority: trustme.CA) -> int:
        """A new one, with its key; its serial number."""
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        certificate.private_key_and_cert_chain_pem.write_to_path(self.certificate)
        return x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes()).serial_number


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "keys", tmp_path / "certificate.pem")


def serial_at(port: int | None) -> int:
    """Of the certificate that a new connection is shown; it names no server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", port or 0)) as raw, context.wrap_socket(raw) as connection:
        shown = connection.getpeercert(binary_form=True)
    assert shown
    return x509.load_der_x509_certificate(shown).serial_number


def hang_up(running: Service, event: str, times: int) -> None:
    """Send SIGHUP, and wait until so many lines of that kind came of it."""
    before = len(running.said(event))
    running.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(running.said(event)) == before + times)


def predict(running: Service, key: str) -> int:
    """Return the status of a prediction with this key."""
    return running.client.post("/predict", json={"inputs": [[0, 0, 0, 0]]}, headers={"x-api-key": key}).status_code


@pytest.mark.parametrize("workers", [1, 2])
def test_keys_and_certificates_are_read_again(tmp_path: Path, published: Path, files: Files, workers: int) -> None:
    authority = trustme.CA()
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    first_key, first_serial = files.write_key("alice"), files.write_certificate(authority)
    grpc_port = free_port()
    settings = {
        "DROPSERVE_API_KEYS": str(files.keys),
        "DROPSERVE_SSL_CERTFILE": str(files.certificate),
        "DROPSERVE_GRPC_PORT": str(grpc_port),
        "DROPSERVE_IDLE_TIMEOUT": "60",
        "DROPSERVE_DRAIN_TIMEOUT": "1",  # TLS waits so long for the client to take leave
    }
    options = ("--workers", str(workers), "--models", str(published))
    with service(tmp_path, *options, verify=trust, **settings) as running:
        port = running.client.base_url.port
        running.client.get("/v1/models", headers={"x-api-key": first_key}).raise_for_status()
        assert [predict(running, first_key) for _ in range(3)] == [200, 200, 200]
        assert (serial_at(port), serial_at(grpc_port)) == (first_serial, first_serial)

        second_key, second_serial = files.write_key("bob"), files.write_certificate(authority)
        hang_up(running, "read again", 2 * workers)
        for _ in range(5):  # whichever worker is asked
            assert (serial_at(port), serial_at(grpc_port)) == (second_serial, second_serial)
            with httpx.Client(base_url=running.client.base_url, verify=trust) as other:
                assert other.get("/v1/models", headers={"x-api-key": first_key}).status_code == 401
                other.get("/v1/models", headers={"x-api-key": second_key}).raise_for_status()
        # over the connection that was open, with a head that was admitted before
        assert [predict(running, key) for key in (first_key, second_key, first_key)] == [401, 200, 401]
        assert running.client.get("/v1/models", headers={"x-api-key": first_key}).status_code == 401
        running.client.get("/v1/models", headers={"x-api-key": second_key}).raise_for_status()

        files.keys.write_text("nonsense")
        files.certificate.write_text("nonsense")
        hang_up(running, "not read again, the previous one stays", 2 * workers)
        assert (serial_at(port), serial_at(grpc_port)) == (second_serial, second_serial)
        running.client.get("/v1/models", headers={"x-api-key": second_key}).raise_for_status()
        assert running.stop() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_without_keys_and_certificates_nothing_comes_of_it(tmp_path: Path, published: Path, workers: str) -> None:
    with service(tmp_path, "--workers", workers, "--models", str(published)) as running:
        for _ in range(3):
            running.process.send_signal(signal.SIGHUP)
        running.client.get("/readyz").raise_for_status()
        assert running.stop() == 0


def test_a_certificate_whose_key_is_another_is_not_taken_by_half(files: Files) -> None:
    authority = trustme.CA()
    one, other = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    one.cert_chain_pems[0].write_to_path(files.certificate)
    one.private_key_pem.write_to_path(files.keys)
    certificate = open_certificate(Settings(ssl_certfile=files.certificate, ssl_keyfile=files.keys))
    assert certificate
    before = certificate.pair
    other.cert_chain_pems[0].write_to_path(files.certificate)
    with pytest.raises(InvalidCertificate, match="KEY_VALUES_MISMATCH"):
        certificate.reload()
    assert certificate.pair == before


def test_a_key_with_a_password_is_refused_without_a_prompt(files: Files) -> None:
    pair = trustme.CA().issue_cert("localhost")
    key = load_pem_private_key(pair.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    files.certificate.write_bytes(encrypted + pair.cert_chain_pems[0].bytes())
    with pytest.raises(InvalidCertificate, match="expected a key without a password"):
        open_certificate(Settings(ssl_certfile=files.certificate))
