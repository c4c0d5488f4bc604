"""API keys and their scopes; only digests of keys are stored.

Each line of the key file is a key: its name, its scope and the SHA-256 of the key in hexadecimal. A key has 256
random bits, so a fast digest cannot be inverted by guessing, and no slow password hash is needed.
"""

import re
import secrets
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

from service.errors import DropserveError, Forbidden, Unauthenticated

KeyScope = Literal["infer", "review", "admin"]
"""The permissions of a key; each scope includes those before it.

`infer` calls models and reads their documents and the metrics; `review` reads and labels the prediction log;
`admin` also loads and unloads models.
"""
SCOPES = get_args(KeyScope)

MODEL = r"models/[^/]+(?:/versions/[^/]+)?"
PATHS = re.compile(
    rf"(?P<infer>(?:/v1/{MODEL})?/(?:predict|uncertainty)|/v1/(?:models|(?!models/refresh$){MODEL}(?:/examples)?)|/metrics"
    rf"|/{MODEL}/(?:files|behaviour|card|plots/[^/]+)"
    rf"|/v2/?|/v2/{MODEL}(?:/ready|/infer)?|/v2/repository/index)"
    r"|(?P<review>/v1/review(?:/[^/]+)?)"
    r"|(?P<open>/|/status|/ui/.*|/healthz|/readyz|/v2/health/(?:live|ready)|/docs(?:/.*)?|/static-offline-docs/.*"
    r"|/openapi\.json)"
)
"""Paths by the scope that they need; those that are open need no key: health, the pages, and the OpenAPI document.

Any path that does not match needs the scope admin, unknown paths too.
"""

LINE = re.compile(r"(\S+)\s+(\S+)\s+([0-9a-f]{64})")
PREFIX = "ds_"
"""The start of every key, by which scanners for leaked secrets can recognise it."""

REMEDY = "send a key as `Authorization: Bearer …` or `X-API-Key: …`"


class Key(NamedTuple):
    """A key as it is stored."""

    name: str
    scope: KeyScope
    digest: str

    def line(self) -> str:
        """Return the key's line in the key file."""
        return f"{self.name} {self.scope} {self.digest}"


class InvalidKeyFile(DropserveError):
    """The key file cannot be read, or a line of it is malformed."""

    code = "invalid_key_file"


class Access:
    """The known keys, against which requests are checked."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        """Accept these keys."""
        self.keys = {key.digest: key for key in keys}
        """The keys by their digests, replaced as a whole."""

    def replace(self, other: "Access") -> None:
        """Accept the other's keys in place of the current ones."""
        self.keys = other.keys

    def check(self, needed: KeyScope, given: str | None) -> Key:
        """Return the stored key that matches the given one, if its scope suffices.

        Raises Unauthenticated for a missing or unknown key, Forbidden for a scope that is too small.
        """
        if not given:
            raise Unauthenticated(f"a key is required; {REMEDY}")
        key = self._find(sha256(given.encode()).hexdigest())
        if key is None:
            raise Unauthenticated("the key is not known")
        if key.scope != needed and SCOPES.index(key.scope) < SCOPES.index(needed):
            raise Forbidden(f"the key {key.name!r} has the scope {key.scope}; this needs {needed}", expected=needed)
        return key

    def _find(self, digest: str) -> Key | None:
        """Look a digest up, in the same time for any number of keys.

        The time reveals nothing about a key: a caller chooses what is hashed, not the digest, so how much of a digest
        is right says nothing about how much of a key is, and a key of 256 random bits cannot be found from its digest.
        """
        return self.keys.get(digest)


def read_keys(file: Path) -> Access:
    """Read a key file; empty lines and lines that begin with # are ignored. Raises InvalidKeyFile."""
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidKeyFile(f"{file}: the key file cannot be read: {error}") from None
    keys = tuple(_parse(line.strip(), file, number) for number, line in enumerate(lines, 1) if _is_key(line))
    if not keys:
        raise InvalidKeyFile(f"{file}: has no key; `dropserve key` makes one")
    return Access(keys)


def make_key(name: str, scope: KeyScope) -> tuple[str, Key]:
    """Return a new secret for its owner, and its entry for the key file.

    Raises InvalidKeyFile for a name with spaces.
    """
    secret = PREFIX + secrets.token_urlsafe(32)
    key = Key(name, scope, sha256(secret.encode()).hexdigest())
    if not LINE.fullmatch(key.line()) or name.startswith("#"):
        raise InvalidKeyFile(f"name: expected a word without spaces, found {name!r}")
    return secret, key


def needed_scope(path: str) -> KeyScope | None:
    """Return the scope that a path needs, or None where no key is needed; an unknown path needs admin."""
    match = PATHS.fullmatch(path)
    if match is None:
        return "admin"
    return None if match.lastgroup == "open" else cast("KeyScope", match.lastgroup)


def given_key(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the key in a request's headers (`Authorization: Bearer …` or `X-API-Key`), or None."""
    kind, _, credentials = headers.get(b"authorization", b"").partition(b" ")
    key = credentials.strip() if kind.lower() == b"bearer" else headers.get(b"x-api-key")
    return key.decode("latin-1") if key else None


def _is_key(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _parse(line: str, file: Path, number: int) -> Key:
    match = LINE.fullmatch(line)
    if match is None:
        raise InvalidKeyFile(f"{file}, line {number}: expected a name, a scope and the SHA-256 of the key")
    name, scope, digest = match.groups()
    if scope not in SCOPES:
        raise InvalidKeyFile(f"{file}, line {number}: expected the scope infer, review or admin, found {scope!r}")
    return Key(name, cast("KeyScope", scope), digest)
