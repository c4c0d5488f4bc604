"""Load and unload models while others serve requests.

`refresh` scans the folder, loads new and changed versions, except those unloaded by request, and then replaces the
catalogue in one assignment. A request keeps its engine, so it finishes on the version it began with, and an engine
without references is freed.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import structlog

from service.config import Settings
from service.engine.engine import Engine
from service.engine.masks import MaskCache
from service.errors import InvalidModel, NotReady, UnknownModel
from service.loading.load import load_model
from service.model.manifest import MAX_MODEL_BYTES, NAME
from service.repository.catalogue import LOADING, UNLOADED, Catalogue, Version
from service.repository.folder import Fingerprint, Found, Identity, fingerprint, identify, scan
from service.repository.mirror import Mirror, open_mirror
from service.repository.unloaded import Unloaded, is_unloaded

log = structlog.get_logger(__name__)


def open_repository(settings: Settings, masks: MaskCache) -> "Repository":
    """Return the repository of the settings; nothing is loaded before `refresh`."""
    mirror = open_mirror(settings)
    return Repository(
        mirror.folder if mirror else Path(settings.models),
        masks,
        default_model=settings.default_model,
        pins=settings.pins,
        threads=settings.threads,
        max_bytes=settings.max_model_bytes,
        unloaded=Unloaded(settings.state / "unloaded" if settings.state else None),
        mirror=mirror,
    )


class Held(NamedTuple):
    """The state of a version in the folder."""

    tried: Fingerprint | None
    """The files of the last attempt to load them; None: to be loaded."""
    engine: Engine | None
    reason: str
    """Why these files could not be loaded; the engine, if any, is of earlier ones."""

    def is_of(self, files: Fingerprint) -> bool:
        """Return whether these files were tried already: a loaded model by its manifest, a failed one by all files."""
        if self.tried is None or self.reason:
            return self.tried == files
        return self.tried.manifest == files.manifest


class Repository:
    """The models of a folder, or of a store mirrored to it."""

    def __init__(
        self,
        folder: Path,
        masks: MaskCache,
        *,
        default_model: str | None = None,
        pins: Mapping[str, int] | None = None,
        threads: int = 1,
        max_bytes: int = MAX_MODEL_BYTES,
        unloaded: Unloaded | None = None,
        mirror: Mirror | None = None,
    ) -> None:
        """Serve the models of `folder` with a shared cache of `masks`; the options are as in the settings.

        `unloaded` are the models unloaded by request, `mirror` the store that `refresh` copies to the folder.
        """
        self.folder = folder
        self._masks = masks
        self._default_model = default_model
        self._pins = pins or {}
        self._threads = threads
        self._max_bytes = max_bytes
        self._unloaded = unloaded or Unloaded()
        self._mirror = mirror
        self._location = mirror.location if mirror else str(folder)
        self._store_problem = ""
        self._found: dict[Identity, Path] = {}
        self._entries: dict[str, str] = {}
        """Entries of the folder that are no versions, with the reason."""
        self._held: dict[Identity, Held] = {}
        self._catalogue: Catalogue | None = None
        self._was_ready = False
        self._logged_problem = ""
        self._stopping = False
        self._settling = Lock()

    # loaded models

    def find(self, name: str | None = None, version: int | None = None) -> Engine:
        """Return an engine; without a name of the default model, without a version of the pinned or highest one.

        Raises NotReady for a version that is not loaded, UnknownModel for one that does not exist.
        """
        return self.catalogue.find(name, version)

    @property
    def catalogue(self) -> Catalogue:
        """The current snapshot. Raises NotReady before the first `refresh`."""
        if self._catalogue is None:
            raise NotReady("the models are being loaded")
        return self._catalogue

    def models(self) -> dict[str, list[int]]:
        """Return the ready versions of every model, which may be none."""
        return self.catalogue.serving()

    def index(self) -> list[Version]:
        """Return every version with its state."""
        return self._catalogue.versions if self._catalogue else []

    def check_ready(self) -> None:
        """Raise NotReady with the reason unless the service as a whole is ready.

        At first, every model must have a ready version, so that a faulty deployment stops. Later only the default
        model must, so that a damaged new model takes no working service out of rotation.
        """
        if self._stopping:
            raise NotReady("the service is stopping")
        if problem := self.catalogue.problem:
            raise NotReady(problem, failures=self.catalogue.failures)

    def stop(self) -> None:
        """Report the service as not ready from now on; requests are still answered."""
        self._stopping = True

    def status(self) -> dict[str, Any]:
        """Return the body of `/readyz`: ready versions and failures. Raises NotReady."""
        self.check_ready()
        return {
            "status": "ready",
            "default_model": self.catalogue.default_model,
            "models": {name: versions for name, versions in self.models().items() if versions},
            "failures": self.catalogue.failures,
        }

    # changes

    @property
    def watched(self) -> list[Path]:
        """Folders whose changes require `refresh`."""
        return ([] if self._mirror else [self.folder]) + ([self._unloaded.folder] if self._unloaded.folder else [])

    def refresh(self) -> None:
        """Scan the folder, load new versions, and drop removed ones; call it in a thread, as loading takes long.

        A version that fails is logged and reported in `status`, and its loaded predecessor stays. All versions stay
        while the store is unreachable.
        """
        self._settle(mirror=self._mirror)

    async def load(self, name: str, version: int | None = None) -> None:
        """Load a version, or all versions of a model, and retry failed ones.

        Raises UnknownModel if there is none, InvalidModel with the reasons if none can be loaded.
        """
        if not NAME.fullmatch(name):
            raise UnknownModel(f"model: {name!r} is not a model name", field="model", expected=self.catalogue.names)
        await asyncio.to_thread(self._load_by_request, name, version)

    async def unload(self, name: str, version: int | None = None) -> None:
        """Unload a version, or a model with its future versions, until `load`. Raises UnknownModel."""
        self.catalogue.of(name, version)
        await asyncio.to_thread(self._unload_by_request, name, version)

    def _load_by_request(self, name: str, version: int | None) -> None:
        self.refresh()
        self.catalogue.of(name, version)  # raises UnknownModel before anything changes
        self._unloaded.discard(name, version, [entry.version for entry in self.catalogue.of(name)])
        self._settle(retry=name)
        entries = self.catalogue.of(name, version)
        if not any(entry.state == "ready" for entry in entries) or (version and entries[0].reason):
            reasons = {f"{name}/{entry.version}": entry.reason for entry in entries}
            raise InvalidModel("; ".join(f"{place}: {why}" for place, why in reasons.items()), failures=reasons)

    def _unload_by_request(self, name: str, version: int | None) -> None:
        self._unloaded.add(name, version)
        self._settle()

    def _settle(self, *, mirror: Mirror | None = None, retry: str | None = None) -> None:
        """Load what should be loaded, one call at a time; the store is synced before, so that it delays no other."""
        problem = _sync(mirror) if mirror else None
        with self._settling:
            self._store_problem = self._store_problem if problem is None else problem
            if (found := self._scan()) is None:
                self._swap(self._found, self._held)
                return
            unloaded = self._unloaded.read()
            wanted = {identity: folder for identity, folder in found.items() if not is_unloaded(identity, unloaded)}
            held = {identity: self._held.get(identity, UNSEEN) for identity in wanted}
            if retry:
                held = {
                    i: old._replace(tried=None) if i.name == retry and old.reason else old for i, old in held.items()
                }
            after = self._load_all(found, wanted, held)
            self._log_removed(after)
            self._found, self._held = found, after
            self._swap(found, after)
            self._log_problem()

    def _scan(self) -> dict[Identity, Path] | None:
        """Return the versions in the folder, or None if it cannot be read."""
        try:
            if not self._mirror:
                self._store_problem = ""
                self.folder.stat()
            found = scan(self.folder)
        except OSError as error:
            self._store_problem = f"cannot be read: {error.strerror}"
            log.error("the folder of models cannot be read", folder=str(self.folder), reason=str(error))
            return None
        self._note_entries(found)
        kept = {identity: folder for identity, folder in self._found.items() if identity.name in found.unlisted}
        return kept | {identify(folder): folder for folder in found.versions}

    def _note_entries(self, found: Found) -> None:
        """Keep the entries that are no versions, and log new ones."""
        unlisted = self._mirror.unlisted if self._mirror else {}
        before, self._entries = self._entries, unlisted | found.unlisted | found.odd
        for place, reason in self._entries.items():
            if before.get(place) != reason:
                log.warning("an entry of the folder of models has no version", entry=place, reason=reason)

    def _load(self, folder: Path, held: Held) -> Held:
        """Load a version if its files have changed, and return its new state."""
        files = fingerprint(folder)
        if held.is_of(files):
            return held
        identity = str(identify(folder))
        try:
            engine = load_model(folder, self._masks, threads=self._threads, max_bytes=self._max_bytes)
        except InvalidModel as error:
            reason = error.message
        except Exception as error:  # noqa: BLE001 - an error in one model must not stop the others
            reason = f"{folder}: cannot be loaded: {type(error).__name__}: {error}"
        else:
            log.info("model loaded" if held.engine is None else "model replaced", model=identity)
            return Held(files, engine, "")
        log.error("model refused", model=identity, reason=reason, serving=held.engine is not None)
        return Held(files, held.engine, reason)

    def _load_all(
        self, found: Mapping[Identity, Path], wanted: Mapping[Identity, Path], held: Mapping[Identity, Held]
    ) -> dict[Identity, Held]:
        """Load versions, and let each answer as soon as it is loaded; those loaded before stay until the end.

        The default model is the first, and the highest version of each, so that no other answers in its place.
        """
        after: dict[Identity, Held] = {}
        current = {**held, **{identity: old for identity, old in self._held.items() if old.engine}}
        if self._catalogue is not None:
            self._swap(found, current)
        for identity in sorted(wanted, key=lambda each: (each.name != self._default_model, each.name, -each.version)):
            after[identity] = self._load(wanted[identity], held[identity])
            if after[identity] is not held[identity]:
                current[identity] = after[identity]
                self._swap(found, current)
        return after

    def _swap(self, found: Mapping[Identity, Path], held: Mapping[Identity, Held]) -> None:
        reasons = dict.fromkeys(found, UNLOADED)
        reasons |= {identity: old.reason for identity, old in held.items()}
        reasons |= self._mirror.failures if self._mirror else {}
        catalogue = Catalogue(
            {identity: old.engine for identity, old in held.items() if old.engine},
            {identity: reason for identity, reason in reasons.items() if reason},
            default_model=self._default_model,
            pins=self._pins,
            location=self._location,
            store_problem=self._store_problem,
            entries=self._entries,
            strict=not self._was_ready,
        )
        self._was_ready = self._was_ready or not catalogue.problem
        self._catalogue = catalogue

    def _log_problem(self) -> None:
        """Log a new reason why the service is not ready."""
        logged, self._logged_problem = self._logged_problem, self.catalogue.problem
        if self._logged_problem not in ("", logged):
            log.error("the service is not ready", reason=self._logged_problem)

    def _log_removed(self, after: Mapping[Identity, Held]) -> None:
        for identity, old in self._held.items():
            if old.engine and identity not in after:
                log.info("model unloaded", model=str(identity))


UNSEEN = Held(None, None, LOADING)


def _sync(mirror: Mirror) -> str:
    """Update the folder from the store, and return the reason of a failure or an empty text."""
    try:
        mirror.sync()
    except OSError as error:
        log.error("the store of models cannot be mirrored", store=mirror.location, reason=str(error))
        return str(error)
    return ""
