"""A store of models behind a URL (S3, Google Cloud Storage, HTTP, …) → a local folder of the same form.

Any store that fsspec knows. A file is fetched beside its place and moved there once its digest agrees with the
manifest; the manifest comes last. So what lies in the folder was whole once, and goes on serving when the store
is away, restarts included. Of the names in a store only those are used that a model or a version may have.

A behaviour report is written after its model, so no manifest vouches for it: it is fetched when it is new or has
changed, and one that cannot be had holds up nothing.
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
"""What only writing can fail of: the cache is at fault, not the store."""


class StoreUnreachable(OSError):
    """The store cannot be asked, or what it answers makes no sense."""


def open_mirror(settings: Settings) -> "Mirror | None":
    """The mirror of a URL; None where the models lie in a folder."""
    if isinstance(settings.models, Path):
        return None
    return Mirror(settings.models, settings.cache or _default_cache(), settings.max_model_bytes)


class Copy(NamedTuple):
    """What lies in the folder of a version. Without times: they change when another process mends it."""

    manifest: str
    """SHA-256."""
    sizes: tuple[tuple[str, int], ...]
    """Bytes by name."""


class Mirror:
    """A store and the folder that follows it. Several processes may share the folder."""

    def __init__(self, url: str, cache: Path, max_bytes: int = MAX_MODEL_BYTES) -> None:
        self.location = without_secrets(url)
        self.folder = cache / hashlib.sha256(url.encode()).hexdigest()[:16]
        self.failures: dict[Identity, str] = {}
        """Versions that are in the store but could not be fetched whole, and why."""
        self.unlisted: dict[str, str] = {}
        """Models whose versions the store does not list, and why; what was fetched of them before stays."""
        self._url = url
        self._max_bytes = max_bytes
        self._checked: dict[Identity, Copy] = {}
        """Those whose files have been compared with their digests since this process began."""
        self._reports: dict[Identity, str] = {}
        """The behaviour reports as they were when last fetched, or too long: what the store said of them."""
        self._unfetched: dict[Identity, str] = {}
        """Those of which it was told that they could not be had, as they were."""
        self._syncing = Lock()

    def sync(self) -> None:
        """Bring the folder up to the store. Raises StoreUnreachable; the folder is then left as it is.

        A version that cannot be fetched is told in `failures` and holds up no other.
        """
        with self._syncing:
            with self._reaching():
                store = Store(self._url)
                found, unlisted = store.versions()
            self.unlisted = {name: _redact(reason, self._url) for name, reason in unlisted.items()}
            if not found:  # a wrong page or an absent mount look the same
                raise StoreUnreachable(next(iter(self.unlisted.values()), "there is no model in it"))
            failures = {identity: self._fetch(store, identity) for identity in found}
            self._tell(failures)
            self.failures = {identity: reason for identity, reason in failures.items() if reason}
            self._drop_all_but(found)

    def _fetch(self, store: "Store", identity: Identity) -> str:
        """Bring one version up to the store; why not, or nothing."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.folder, prefix=".fetch-") as staging:
                return self._fetch_beside(store, identity, staging)
        except OSError as error:
            return f"the cache {self.folder} cannot be written: {error.strerror or error}"

    def _fetch_beside(self, store: "Store", identity: Identity, staging: str) -> str:
        """The same, with a folder for what has not been checked. Raises OSError when that cannot be written."""
        beside = Path(staging, identity.name, str(identity.version))
        beside.mkdir(parents=True)
        place = self.folder / identity.name / str(identity.version)
        try:
            store.fetch(identity, MANIFEST, beside, MAX_MANIFEST_BYTES)
            content = (beside / MANIFEST).read_bytes()
            copy = _look_at(place)
            if copy.manifest != sha256(content) or copy != self._checked.get(identity):
                self._fetch_files(store, identity, beside, place)
                self._checked[identity] = _look_at(place)
                self._reports.pop(identity, None)  # its folder may have been wiped
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
        if BEHAVIOUR in read_manifest(place).files:  # fetched, and checked, with the others
            return
        state = store.describe(identity, BEHAVIOUR)
        if not state:
            (place / BEHAVIOUR).unlink(missing_ok=True)
            self._reports.pop(identity, None)
        elif state != self._reports.get(identity):
            self._fetch_report(store, identity, beside, place, state)

    def _fetch_report(self, store: "Store", identity: Identity, beside: Path, place: Path, state: str) -> None:
        """One that could not be had is asked for again at the next look; one that is too long is not, and no older
        one stands in for it.
        """
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

    def _tell(self, failures: Mapping[Identity, str]) -> None:
        """Once, not at every look."""
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
        """Each kind of store raises errors of its own; they may quote the URL."""
        try:
            yield
        except ImportError as error:
            raise StoreUnreachable(f"{error}; {remedy('remote')}") from None
        except Exception as error:  # noqa: BLE001 - see above
            raise StoreUnreachable(_redact(str(error) or type(error).__name__, self._url)) from None


class Store:
    """What lies behind a URL, asked anew: nothing that was listed before is remembered."""

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs  # only with a URL is the package needed

        self._files, root = url_to_fs(url, use_listings_cache=False)
        self._root = root.rstrip("/")
        self._files.invalidate_cache()

    def versions(self) -> tuple[list[Identity], dict[str, str]]:
        """All `<name>/<version>/` of it; and the names that cannot be listed, with the reason."""
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
        """Copy one file; how many bytes.

        Raises InvalidModel when it is not there, is longer than that or is not given; OSError when the disk is full.
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
        """What the store says of a file (size, time, digest: as it has them); empty when it is not there."""
        try:
            return repr(sorted(self._files.info(f"{self._root}/{identity}/{name}").items()))
        except Exception:  # noqa: BLE001 - each kind of store raises errors of its own
            return ""

    def _folders(self, path: str) -> list[str]:
        entries = self._files.ls(path, detail=True)
        folders = [entry["name"].rstrip("/") for entry in entries if entry["type"] == "directory"]
        return sorted({folder.rsplit("/", 1)[-1] for folder in folders if folder != path})


def _default_cache() -> Path:
    """The user's own; a private one where he has none, as in a container with a read-only root."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    try:
        cache = Path(base, "dropserve")
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="dropserve-"))
    return cache


def without_secrets(url: str) -> str:
    """A URL as it may be told: no password, no signed query."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _redact(message: str, url: str) -> str:
    """A message that may quote the URL, or another below it."""
    parts = urlsplit(url)
    secrets = [f"{parts.netloc.rpartition('@')[0]}@", parts.query, parts.fragment]
    for secret in secrets:
        message = message.replace(secret, "") if len(secret) > 1 else message
    return message


def _limit(name: str, max_bytes: int) -> Any:
    """Told by fsspec of every piece that it fetches; stops it when there are too many."""
    from fsspec import Callback

    class Limit(Callback):  # type: ignore[misc]
        def relative_update(self, inc: int = 1) -> None:
            super().relative_update(inc)
            _check_size(name, self.value, max_bytes)

    return Limit()


def _check_size(name: str, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise InvalidModel(
            f"{name}: is longer than the {max_bytes} bytes that may be fetched", file=name, limit=max_bytes
        )


def _check(file: Path, digest: str) -> None:
    if (found := _digest(file)) != digest:
        message = f"{file}: is damaged: its SHA-256 is {found}, the manifest says {digest}"
        raise InvalidModel(message, file=file.name)


def _look_at(place: Path) -> Copy:
    manifest, files = fingerprint(place)
    return Copy(manifest, tuple((name, size) for name, size, _ in files if name != BEHAVIOUR))


def _digest(file: Path) -> str:
    """Empty when there is none."""
    if not file.is_file():
        return ""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _remove_others(folder: Path, manifest: Manifest) -> None:
    """What an earlier manifest named."""
    for path in folder.iterdir():
        if path.name not in {*manifest.files, MANIFEST, BEHAVIOUR}:
            path.unlink()
