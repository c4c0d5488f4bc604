"""Who may do what: API keys, of which only digests are stored.

A line of the key file is a key: its name, its scope and the SHA-256 of the key, in hexadecimal. A key is 256
random bits, so a plain digest of it cannot be guessed backwards, and none slower is needed.
"""

import re
import secrets
from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

from service.errors import DropserveError, Forbidden, Unauthenticated

KeyScope = Literal["infer", "review", "admin"]
"""Each allows what those before it do. `infer` asks models and reads of them and the metrics; `review` sees what others
asked, and labels it; `admin` may load and unload models too."""
SCOPES = get_args(KeyScope)

OPEN = re.compile(
    r"/|/status|/ui/.*|/healthz|/readyz|/v2/health/(live|ready)|/docs(/.*)?|/static-offline-docs/.*|/openapi\.json"
)
"""Paths that need no key: health, the pages for people, and the description of the service."""
MODEL = r"models/[^/]+(/versions/[^/]+)?"
INFER = re.compile(
    rf"(/v1/{MODEL})?/(predict|uncertainty)|/v1/(models|(?!models/refresh$){MODEL}(/examples)?)|/metrics"
    rf"|/{MODEL}/(files|behaviour|card|plots/[^/]+)"
    rf"|/v2/?|/v2/{MODEL}(/ready|/infer)?|/v2/repository/index"
)
"""Paths that a key of the scope infer is enough for. All others need the scope admin, what is not known too."""
REVIEW = re.compile(r"/v1/review(/[^/]+)?")
"""Paths that need the scope review."""

LINE = re.compile(r"(\S+)\s+(\S+)\s+([0-9a-f]{64})")
PREFIX = "ds_"
"""Lets a scanner of leaked secrets know a key for what it is."""

REMEDY = "send a key as `Authorization: Bearer …` or `X-API-Key: …`"


class Key(NamedTuple):
    """A key as it is stored."""

    name: str
    scope: KeyScope
    digest: str

    def line(self) -> str:
        """As it stands in the key file."""
        return f"{self.name} {self.scope} {self.digest}"


class InvalidKeyFile(DropserveError):
    """The key file cannot be read, or a line of it breaks the form."""

    code = "invalid_key_file"


class Access:
    """The keys that are known."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self._keys = keys

    def replace(self, other: "Access") -> None:
        """Know the other's keys from now on, and no longer one's own."""
        self._keys = other._keys

    def check(self, needed: KeyScope, given: str | None) -> Key:
        """The caller's key, when it may do what is needed; raises Unauthenticated or Forbidden."""
        if not given:
            raise Unauthenticated(f"a key is needed; {REMEDY}")
        key = self._find(sha256(given.encode()).hexdigest())
        if key is None:
            raise Unauthenticated("the key is not known")
        if SCOPES.index(key.scope) < SCOPES.index(needed):
            raise Forbidden(f"the key {key.name!r} has the scope {key.scope}; this needs {needed}", expected=needed)
        return key

    def _find(self, digest: str) -> Key | None:
        """Compares with all, each in constant time, so that the time tells nothing of any."""
        found = None
        for key in self._keys:
            if compare_digest(key.digest, digest):
                found = key
        return found


def read_keys(file: Path) -> Access:
    """The key file; empty lines and those that begin with # are passed over. Raises InvalidKeyFile."""
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidKeyFile(f"{file}: the key file cannot be read: {error}") from None
    keys = tuple(_parse(line.strip(), file, number) for number, line in enumerate(lines, 1) if _is_key(line))
    if not keys:
        raise InvalidKeyFile(f"{file}: there is no key in it; `python -m service key` makes one")
    return Access(keys)


def make_key(name: str, scope: KeyScope) -> tuple[str, Key]:
    """A new key, to be given to its owner, and what is stored of it. Raises InvalidKeyFile for a name with spaces."""
    secret = PREFIX + secrets.token_urlsafe(32)
    key = Key(name, scope, sha256(secret.encode()).hexdigest())
    if not LINE.fullmatch(key.line()) or name.startswith("#"):
        raise InvalidKeyFile(f"name: expected a word without spaces, found {name!r}")
    return secret, key


def needed_scope(path: str) -> KeyScope | None:
    """What a key must allow for this path; None where none is needed. What is not known to be less needs all."""
    if OPEN.fullmatch(path):
        return None
    if REVIEW.fullmatch(path):
        return "review"
    return "infer" if INFER.fullmatch(path) else "admin"


def given_key(headers: Mapping[bytes, bytes]) -> str | None:
    """The key that a request brings."""
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
