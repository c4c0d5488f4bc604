"""The certificate of HTTPS and of gRPC's TLS, which can be read again while connections are open."""

import ssl
from pathlib import Path
from typing import Any

from service.config import Settings
from service.errors import DropserveError


class InvalidCertificate(DropserveError):
    """The files of the certificate and of its key cannot be read, or do not fit."""

    code = "invalid_certificate"


class Certificate:
    """A certificate and its key. Each new connection gets what was last read; those that are open keep theirs."""

    def __init__(self, certificate: Path, key: Path | None) -> None:
        self._certificate = certificate
        self._key = key
        self.reload()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        """For a server; it hands each connection on to the context that was last read."""
        self.context.sni_callback = self._choose

    def reload(self) -> None:
        """Read the files. Raises InvalidCertificate, and keeps what was read before."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self._certificate, self._key, _refuse_encrypted)
            pair = (self._key or self._certificate).read_bytes(), self._certificate.read_bytes()
        except (OSError, ValueError) as error:  # SSLError is an OSError
            key = self._key or "unset, so the key is looked for with the certificate"
            message = f"no certificate and key of it in ssl_certfile {self._certificate}, ssl_keyfile {key}: {error}"
            raise InvalidCertificate(message) from None
        self._newest, self.pair = context, pair

    def _choose(self, connection: ssl.SSLObject, _: str | None, __: Any) -> None:
        """Called at each handshake, also where the client names no server."""
        connection.context = self._newest


def open_certificate(settings: Settings) -> Certificate | None:
    """Return the certificate of the settings, None where none is set. Raises InvalidCertificate."""
    if settings.ssl_certfile:
        return Certificate(settings.ssl_certfile, settings.ssl_keyfile)
    if settings.ssl_keyfile:
        raise InvalidCertificate("expected the certificate of the key in ssl_keyfile, found none")
    return None


def _refuse_encrypted() -> str:
    """OpenSSL would ask for the password at the terminal, and wait."""
    raise ValueError("expected a key without a password")
