"""The TLS certificate of HTTPS and gRPC, which can be read again while connections are open."""

import ssl
from pathlib import Path
from typing import Any

from service.config import Settings
from service.errors import DropserveError


class InvalidCertificate(DropserveError):
    """The files of the certificate and of its key cannot be read, or do not belong together."""

    code = "invalid_certificate"


class Certificate:
    """A certificate and its key: new connections use the files as last read, open ones keep theirs."""

    def __init__(self, certificate: Path, key: Path | None) -> None:
        """Read both PEM files; without `key` the certificate's file has it. Raises InvalidCertificate."""
        self._certificate = certificate
        self._key = key
        self.reload()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        """The context for a server; at each handshake it is replaced by the one last read."""
        self.context.sni_callback = self._choose

    def reload(self) -> None:
        """Read the files again; where that raises InvalidCertificate, the previous certificate stays in use."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self._certificate, self._key, _refuse_encrypted)
            pair = (self._key or self._certificate).read_bytes(), self._certificate.read_bytes()
        except (OSError, ValueError) as error:  # SSLError is an OSError
            key = self._key or "unset, so the key is expected in the same file"
            message = f"no certificate with its key in ssl_certfile {self._certificate}, ssl_keyfile {key}: {error}"
            raise InvalidCertificate(message) from None
        self._newest, self.pair = context, pair

    def _choose(self, connection: ssl.SSLObject, _: str | None, __: Any) -> None:
        """Use the context last read; ssl calls this at each handshake, also where the client sends no server name."""
        connection.context = self._newest


def open_certificate(settings: Settings) -> Certificate | None:
    """Return the certificate of the settings, or None where none is set. Raises InvalidCertificate."""
    if settings.ssl_certfile:
        return Certificate(settings.ssl_certfile, settings.ssl_keyfile)
    if settings.ssl_keyfile:
        raise InvalidCertificate("expected the certificate of the key in ssl_keyfile, found none")
    return None


def _refuse_encrypted() -> str:
    """Raise ValueError in place of OpenSSL's prompt for a password at the terminal."""
    raise ValueError("expected a key without a password")
