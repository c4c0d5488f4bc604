"""Mirror a remote store of models (S3, Google Cloud Storage, HTTP, …) to a local folder of the same form.

Any store of fsspec is supported. A file is fetched to a temporary folder and moved into place once its digest agrees
with the manifest; the manifest is moved last. So the folder always has complete versions, which can be served while
the store is unreachable, also after a restart. Names in the store that are not valid for a model or version are
ignored.

A behaviour report may be written after its model and is then not in the manifest: it is fetched when it is new or has
changed, and a failure to fetch it does not affect the model.
"""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import structlog

from service.config import Settings
from service.errors import InvalidModel
from service.extras import remedy
from service.model.manifest import MANIFEST, MAX_MANIFEST_BYTES, MAX_MODEL_BYTES, NAME, Manifest, read_manifest, sha256
from service.repository.documents import BEHAVIOUR, MAX_DOCUMENT_BYTES
from service.repository.folder import Identity, find_models, fingerprint, identify, is_version

log = structlog.get_logger(__name__)

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
"""Errors of writing the cache, as opposed to reading the store."""


class StoreUnreachable(OSError):
    """The store cannot be reached, or its answer is not a listing of models."""


def open_mirror(settings: Settings) -> "Mirror | None":
    """Return the mirror of the URL of models, or None for a local folder."""
    if isinstance(settings.models, Path):
        return None
    return Mirror(settings.models, settings.cache or _default_cache(), settings.max_model_bytes)


class Copy(NamedTuple):
    """The files of a version's folder, without times, which change when another process repairs it."""

    manifest: str
    """SHA-256 of the manifest."""
    sizes: tuple[tuple[str, int], ...]
    """Name and bytes of each file."""


class Mirror:
    """A store and its local folder, which several processes may share."""

    def __init__(self, url: str, cache: Path, max_bytes: int = MAX_MODEL_BYTES) -> None:
        """Mirror `url` to a folder of its own in `cache`; `max_bytes` limits the size of a version."""
        self.location = without_secrets(url)
        self.folder = cache / hashlib.sha256(url.encode()).hexdigest()[:16]
        self.failures: dict[Identity, str] = {}
        """Versions in the store that could not be fetched completely, with the reason."""
        self.unlisted: dict[str, str] = {}
        """Models whose versions the store could not list, with the reason; fetched versions of them stay."""
        self._url = url
        self._max_bytes = max_bytes
        self._checked: dict[Identity, Copy] = {}
        """Versions whose files this process has compared with their digests."""
        self._reports: dict[Identity, str] = {}
        """The store's description of each behaviour report that was fetched or found too long."""
        self._unfetched: dict[Identity, str] = {}
        """The store's description of each behaviour report whose failed fetch was logged."""
        self._syncing = Lock()

    def sync(self) -> None:
        """Update the folder from the store. Raises StoreUnreachable and leaves the folder unchanged.

        A version that cannot be fetched is reported in `failures` and does not affect the others.
        """
        with self._syncing:
            with self._reaching():
                store = Store(self._url)
                found, unlisted = store.versions()
            self.unlisted = {name: _redact(reason, self._url) for name, reason in unlisted.items()}
            if not found:  # a wrong page or a missing mount look like this
                raise StoreUnreachable(next(iter(self.unlisted.values()), "it has no model"))
            failures = {identity: self._fetch(store, identity) for identity in found}
            self._log_new(failures)
            self.failures = {identity: reason for identity, reason in failures.items() if reason}
            self._drop_all_but(found)

    def _fetch(self, store: "Store", identity: Identity) -> str:
        """Update one version from the store, and return the reason of a failure or an empty text."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.folder, prefix=".fetch-") as staging:
                return self._fetch_beside(store, identity, staging)
        except OSError as error:
            return f"the cache {self.folder} cannot be written: {error.strerror or error}"

    def _fetch_beside(self, store: "Store", identity: Identity, staging: str) -> str:
        """Update one version by way of the folder `staging`. Raises OSError if that cannot be written."""
        beside = Path(staging, identity.name, str(identity.version))
        beside.mkdir(parents=True)
        place = self.folder / identity.name / str(identity.version)
        try:
            store.fetch(identity, MANIFEST, beside, MAX_MANIFEST_BYTES)
            content = (beside / MANIFEST).read_bytes()
            copy = _describe(place)
            if copy.manifest != sha256(content) or copy != self._checked.get(identity):
                self._fetch_files(store, identity, beside, place)
                self._checked[identity] = _describe(place)
                self._reports.pop(identity, None)  # its folder may have been emptied
            self._follow_report(store, identity, beside, place)
        except InvalidModel as error:
            return _redact(error.message.replace(staging, self.location), self._url)
        return ""

    def _fetch_files(self, store: "Store", identity: Identity, beside: Path, place: Path) -> None:
        manifest = read_manifest(beside)
        left = self._max_bytes
        for name, digest in manifest.files.items():
            if _digest(place / name) != digest:
                left -= store.fetch(identity, name, beside, left)
                _check(beside / name, digest)
        place.mkdir(parents=True, exist_ok=True)
        for name in (*manifest.files, MANIFEST):
            if (beside / name).exists():
                (beside / name).replace(place / name)
        _remove_others(place, manifest)

    def _follow_report(self, store: "Store", identity: Identity, beside: Path, place: Path) -> None:
        if BEHAVIOUR in read_manifest(place).files:  # fetched and checked with the other files
            return
        state = store.describe(identity, BEHAVIOUR)
        if not state:
            (place / BEHAVIOUR).unlink(missing_ok=True)
            self._reports.pop(identity, None)
        elif state != self._reports.get(identity):
            self._fetch_report(store, identity, beside, place, state)

    def _fetch_report(self, store: "Store", identity: Identity, beside: Path, place: Path, state: str) -> None:
        """Fetch a behaviour report; a failed one is tried again next time, one that is too long is removed."""
        try:
            store.fetch(identity, BEHAVIOUR, beside, MAX_DOCUMENT_BYTES)
            (beside / BEHAVIOUR).replace(place / BEHAVIOUR)
        except InvalidModel as error:
            if self._unfetched.get(identity) != state:
                log.warning("behaviour report not fetched", model=str(identity), store=self.location)
            self._unfetched[identity] = state
            if "limit" not in error.details:
                return
            (place / BEHAVIOUR).unlink(missing_ok=True)
        self._reports[identity] = state

    def _log_new(self, failures: Mapping[Identity, str]) -> None:
        """Log failures that are new or have another reason."""
        for identity, reason in failures.items():
            if reason and reason != self.failures.get(identity):
                log.error("model not fetched", model=str(identity), store=self.location, reason=reason)

    def _drop_all_but(self, found: list[Identity]) -> None:
        for folder in find_models(self.folder):
            if identify(folder) not in found and folder.parent.name not in self.unlisted:
                (folder / MANIFEST).unlink(missing_ok=True)
                shutil.rmtree(folder, ignore_errors=True)
                for known in (self._checked, self._reports, self._unfetched):
                    known.pop(identify(folder), None)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn any error of a store into StoreUnreachable, without secrets of the URL."""
        try:
            yield
        except ImportError as error:
            raise StoreUnreachable(f"{error}; {remedy('remote')}") from None
        except Exception as error:  # noqa: BLE001 - each kind of store raises errors of its own
            raise StoreUnreachable(_redact(str(error) or type(error).__name__, self._url)) from None


class Store:
    """The files behind a URL, without cached listings."""

    def __init__(self, url: str) -> None:
        """Open the store. Raises ImportError if the package for its protocol is not installed."""
        from fsspec.core import url_to_fs  # an optional dependency

        self._files, root = url_to_fs(url, use_listings_cache=False)
        self._root = root.rstrip("/")
        self._files.invalidate_cache()

    def versions(self) -> tuple[list[Identity], dict[str, str]]:
        """Return all versions, and the models that cannot be listed, with the reason."""
        found: list[Identity] = []
        unlisted: dict[str, str] = {}
        for name in filter(NAME.fullmatch, self._folders(self._root)):
            try:
                folders = self._folders(f"{self._root}/{name}")
            except Exception as error:  # noqa: BLE001 - each kind of store raises errors of its own
                unlisted[name] = f"cannot be listed: {str(error) or type(error).__name__}"
                continue
            found.extend(Identity(name, int(version)) for version in folders if is_version(version))
        return found, unlisted

    def fetch(self, identity: Identity, name: str, into: Path, max_bytes: int) -> int:
        """Copy one file into a folder and return its bytes.

        Raises InvalidModel if it is missing, longer than `max_bytes` or not readable, OSError if the disk is full.
        """
        try:
            self._files.get_file(f"{self._root}/{identity}/{name}", str(into / name), callback=_limit(name, max_bytes))
        except FileNotFoundError:
            raise InvalidModel(f"{into / name}: no such file; a published model has one", file=name) from None
        except InvalidModel:
            raise
        except Exception as error:  # each kind of store raises errors of its own
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            why = str(error) or type(error).__name__
            raise InvalidModel(f"{into / name}: cannot be fetched: {why}", file=name) from None
        size = (into / name).stat().st_size
        _check_size(name, size, max_bytes)
        return size

    def describe(self, identity: Identity, name: str) -> str:
        """Return the store's description of a file, such as size, time and digest; empty without the file."""
        try:
            return repr(sorted(self._files.info(f"{self._root}/{identity}/{name}").items()))
        except Exception:  # noqa: BLE001 - each kind of store raises errors of its own
            return ""

    def _folders(self, path: str) -> list[str]:
        entries = self._files.ls(path, detail=True)
        folders = [entry["name"].rstrip("/") for entry in entries if entry["type"] == "directory"]
        return sorted({folder.rsplit("/", 1)[-1] for folder in folders if folder != path})


def _default_cache() -> Path:
    """Return the user's cache folder, or a temporary one where that cannot be written, as in a container."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    try:
        cache = Path(base, "dropserve")
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="dropserve-"))
    return cache


def without_secrets(url: str) -> str:
    """Return a URL for messages, without password and query, which may be signed."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _redact(message: str, url: str) -> str:
    """Remove the secrets of a URL from a message that may quote it."""
    parts = urlsplit(url)
    secrets = [f"{parts.netloc.rpartition('@')[0]}@", parts.query, parts.fragment]
    for secret in secrets:
        message = message.replace(secret, "") if len(secret) > 1 else message
    return message


def _limit(name: str, max_bytes: int) -> Any:
    """Return a callback for fsspec that stops a transfer of more than `max_bytes`."""
    from fsspec import Callback

    class Limit(Callback):  # type: ignore[misc]
        def relative_update(self, inc: int = 1) -> None:
            super().relative_update(inc)
            _check_size(name, self.value, max_bytes)

    return Limit()


def _check_size(name: str, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise InvalidModel(f"{name}: expected at most {max_bytes} bytes", file=name, limit=max_bytes)


def _check(file: Path, digest: str) -> None:
    if (found := _digest(file)) != digest:
        message = f"{file}: is damaged: its SHA-256 is {found}, the manifest says {digest}"
        raise InvalidModel(message, file=file.name)


def _describe(place: Path) -> Copy:
    manifest, files = fingerprint(place)
    return Copy(manifest, tuple((name, size) for name, size, _ in files if name != BEHAVIOUR))


def _digest(file: Path) -> str:
    """Return the SHA-256 of a file, empty without a file."""
    if not file.is_file():
        return ""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _remove_others(folder: Path, manifest: Manifest) -> None:
    """Remove files that are not in the manifest."""
    for path in folder.iterdir():
        if path.name not in {*manifest.files, MANIFEST, BEHAVIOUR}:
            path.unlink()
