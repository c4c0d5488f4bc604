"""Models come and go while others answer: what is new is loaded beside what serves, then swapped in by one step.

`refresh` is the one verb. It looks at the folder, decides what should serve (all that is there, less what was
unloaded by request), loads what is new or changed, and replaces the catalogue. Requests hold the engine that
they were given, so one in flight finishes on the version it began with, and an engine that nobody holds is freed.
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
from service.repository.folder import Fingerprint, Found, Identity, fingerprint, identify, look_into
from service.repository.mirror import Mirror, open_mirror
from service.repository.unloaded import Unloaded, is_meant

log = structlog.get_logger(__name__)


def open_repository(settings: Settings, masks: MaskCache) -> "Repository":
    """As the settings say; nothing is loaded before `refresh`."""
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
    """What is known of a version in the folder."""

    tried: Fingerprint | None
    """The files as they were when last tried; None: to be tried again."""
    engine: Engine | None
    reason: str
    """Why these files are not served; the engine, if any, is of earlier ones."""

    def is_of(self, files: Fingerprint) -> bool:
        """Whether there is nothing to load: a good model is known by its manifest, a bad one by all its files."""
        if self.tried is None or self.reason:
            return self.tried == files
        return self.tried.manifest == files.manifest


class Repository:
    """The models of a folder, or of a store that is mirrored to it."""

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
        """Entries of the folder that are no versions, and why nothing there serves."""
        self._held: dict[Identity, Held] = {}
        self._catalogue: Catalogue | None = None
        self._was_ready = False
        self._told_problem = ""
        self._stopping = False
        self._settling = Lock()

    # what serves

    def find(self, name: str | None = None, version: int | None = None) -> Engine:
        """The engine asked for: no name means the default model, no version the pinned or the highest.

        Raises NotReady when what was named is there but cannot answer, UnknownModel when it is not there.
        """
        return self.catalogue.find(name, version)

    @property
    def catalogue(self) -> Catalogue:
        """What serves now. Raises NotReady until the folder has been looked at."""
        if self._catalogue is None:
            raise NotReady("the models are being loaded")
        return self._catalogue

    def models(self) -> dict[str, list[int]]:
        """The versions that serve, by model; one without any is named too."""
        return self.catalogue.serving()

    def index(self) -> list[Version]:
        """Every version there is: (name, version, state, reason)."""
        return self._catalogue.versions if self._catalogue else []

    def check_ready(self) -> None:
        """Raise NotReady, with the reason, unless the service as a whole is ready.

        At first each model found must have a version that serves, so that a faulty deployment stops. Later only
        the default model must: a damaged newcomer takes no working service out of rotation.
        """
        if self._stopping:
            raise NotReady("the service is stopping")
        if problem := self.catalogue.problem:
            raise NotReady(problem, failures=self.catalogue.failures)

    def stop(self) -> None:
        """Be ready no more; what was asked is still answered."""
        self._stopping = True

    def status(self) -> dict[str, Any]:
        """What serves and what was refused, as `/readyz` tells it. Raises NotReady."""
        self.check_ready()
        return {
            "status": "ready",
            "default_model": self.catalogue.default_model,
            "models": {name: versions for name, versions in self.models().items() if versions},
            "failures": self.catalogue.failures,
        }

    # what should serve

    @property
    def watched(self) -> list[Path]:
        """Folders in which a change calls for `refresh`."""
        return ([] if self._mirror else [self.folder]) + ([self._unloaded.folder] if self._unloaded.folder else [])

    def refresh(self) -> None:
        """Look, load what is new, swap, let go what has gone. Takes as long as loading does: call it in a thread.

        A version that fails is logged and told by `status`; what served goes on. So too when the store is away.
        """
        self._settle(mirror=self._mirror)

    async def load(self, name: str, version: int | None = None) -> None:
        """Serve a version, or all of a model; what failed before is tried again.

        Raises UnknownModel when there is none, InvalidModel with the reason when none of it can be served.
        """
        if not NAME.fullmatch(name):
            raise UnknownModel(f"model: {name!r} is no name of a model", field="model", expected=self.catalogue.names)
        await asyncio.to_thread(self._load_by_request, name, version)

    async def unload(self, name: str, version: int | None = None) -> None:
        """Let go of a version, or of a model and whatever comes of it, until `load`. Raises UnknownModel."""
        self.catalogue.of(name, version)
        await asyncio.to_thread(self._unload_by_request, name, version)

    def _load_by_request(self, name: str, version: int | None) -> None:
        self.refresh()
        self.catalogue.of(name, version)  # what is refused changes nothing
        self._unloaded.discard(name, version, [entry.version for entry in self.catalogue.of(name)])
        self._settle(retry=name)
        asked = self.catalogue.of(name, version)
        if not any(entry.state == "ready" for entry in asked) or (version and asked[0].reason):
            reasons = {f"{name}/{entry.version}": entry.reason for entry in asked}
            raise InvalidModel("; ".join(f"{place}: {why}" for place, why in reasons.items()), failures=reasons)

    def _unload_by_request(self, name: str, version: int | None) -> None:
        self._unloaded.add(name, version)
        self._settle()

    def _settle(self, *, mirror: Mirror | None = None, retry: str | None = None) -> None:
        """One at a time; the store is asked before, so that one that does not answer holds up nobody else."""
        problem = _sync(mirror) if mirror else None
        with self._settling:
            self._store_problem = self._store_problem if problem is None else problem
            if (found := self._look()) is None:
                self._swap(self._found, self._held)
                return
            let_go = self._unloaded.read()
            wanted = {identity: folder for identity, folder in found.items() if not is_meant(identity, let_go)}
            held = {identity: self._held.get(identity, UNSEEN) for identity in wanted}
            if retry:
                held = {
                    i: old._replace(tried=None) if i.name == retry and old.reason else old for i, old in held.items()
                }
            self._announce(found, held)
            after = {identity: self._load(folder, held[identity]) for identity, folder in wanted.items()}
            self._tell_gone(after)
            self._found, self._held = found, after
            self._swap(found, after)
            self._tell_problem()

    def _look(self) -> dict[Identity, Path] | None:
        """What lies in the folder; None if that cannot be told, which is not the same as nothing."""
        try:
            if not self._mirror:
                self._store_problem = ""
                self.folder.stat()
            found = look_into(self.folder)
        except OSError as error:
            self._store_problem = f"cannot be read: {error.strerror}"
            log.error("the folder of models cannot be read", folder=str(self.folder), reason=str(error))
            return None
        self._note_entries(found)
        kept = {identity: folder for identity, folder in self._found.items() if identity.name in found.unlisted}
        return kept | {identify(folder): folder for folder in found.versions}

    def _note_entries(self, found: Found) -> None:
        """Log each entry that is no version once."""
        unlisted = self._mirror.unlisted if self._mirror else {}
        before, self._entries = self._entries, unlisted | found.unlisted | found.odd
        for place, reason in self._entries.items():
            if before.get(place) != reason:
                log.warning("nothing to serve in an entry of the folder of models", entry=place, reason=reason)

    def _load(self, folder: Path, held: Held) -> Held:
        """The version as its files are now; what was held, if they are still the same."""
        files = fingerprint(folder)
        if held.is_of(files):
            return held
        identity = str(identify(folder))
        try:
            engine = load_model(folder, self._masks, threads=self._threads, max_bytes=self._max_bytes)
        except InvalidModel as error:
            reason = error.message
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one model must not stop the others
            reason = f"{folder}: cannot be loaded: {type(error).__name__}: {error}"
        else:
            log.info("model loaded" if held.engine is None else "model replaced", model=identity)
            return Held(files, engine, "")
        log.error("model refused", model=identity, reason=reason, serving=held.engine is not None)
        return Held(files, held.engine, reason)

    def _announce(self, found: Mapping[Identity, Path], held: Mapping[Identity, Held]) -> None:
        """Before loading, which takes a while: what serves goes on, what is new is told to be loading."""
        if self._catalogue is not None:
            self._swap(found, {**held, **{i: old for i, old in self._held.items() if old.engine}})

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

    def _tell_problem(self) -> None:
        """Who watches a service that does not become ready finds the reason in its log."""
        told, self._told_problem = self._told_problem, self.catalogue.problem
        if self._told_problem not in ("", told):
            log.error("the service is not ready", reason=self._told_problem)

    def _tell_gone(self, after: Mapping[Identity, Held]) -> None:
        for identity, old in self._held.items():
            if old.engine and identity not in after:
                log.info("model unloaded", model=str(identity))


UNSEEN = Held(None, None, LOADING)


def _sync(mirror: Mirror) -> str:
    """Bring the folder up to the store; why not, or nothing."""
    try:
        mirror.sync()
    except OSError as error:
        log.error("the store of models cannot be mirrored", store=mirror.location, reason=str(error))
        return str(error)
    return ""
