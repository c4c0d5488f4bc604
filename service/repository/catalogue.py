"""An immutable snapshot of the loaded models: a swap assigns a new one, and a lookup needs no lock."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from service.engine.engine import Engine
from service.errors import NotReady, UnknownModel
from service.repository.folder import Identity

State = Literal["ready", "loading", "unavailable"]

LOADING = "being loaded"
UNLOADED = "unloaded"
"""Reasons of a state that is not a failure."""


class Version(NamedTuple):
    """A version that is loaded or in the folder of models."""

    name: str
    version: int
    state: State
    reason: str
    """Why the version is unavailable, or why its newer files could not be loaded; else empty."""


class Catalogue:
    """Engines by model and version, and the reasons of versions without one."""

    def __init__(
        self,
        engines: Mapping[Identity, Engine],
        reasons: Mapping[Identity, str],
        *,
        default_model: str | None = None,
        pins: Mapping[str, int] | None = None,
        location: str = "",
        store_problem: str = "",
        entries: Mapping[str, str] | None = None,
        strict: bool = True,
    ) -> None:
        """Take the engines, and the reasons of versions that are unavailable or whose newer files failed.

        `pins` are default versions by model, `location` is the folder or URL of models for messages,
        `store_problem` the reason why it could not be read. `entries` are other entries of the folder, with the reason
        why they are no versions. With `strict`, every model must have a ready version for the service to be ready.
        """
        self.versions = [_describe(identity, engines, reasons) for identity in sorted({*engines, *reasons})]
        self.names = list(dict.fromkeys(version.name for version in self.versions))
        self.default_model = default_model or _first(self.versions)
        self._set_default = default_model
        self._pins = pins or {}
        self._location = location
        self._store_problem = store_problem
        self._entries = entries or {}
        self._engines = self._with_defaults(engines)
        self.failures = {str(identity): reason for identity, reason in reasons.items() if _is_failure(reason)}
        self.failures |= self._entries
        if store_problem:
            self.failures[location] = store_problem
        self.problem = self._find_problem(strict)
        """Why the service is not ready; empty if it is."""

    def find(self, name: str | None, version: int | None) -> Engine:
        """Return the engine of a model and version, by default those that `/predict` uses.

        Raises NotReady for a version that is not loaded, UnknownModel for one that does not exist.
        """
        name = name or self.default_model
        engine = self._engines.get((name, version))
        if engine is None:
            raise self._refusal(name, version)
        return engine

    def default_version(self, name: str) -> int | None:
        """Return the version used when none is named: the pinned or the highest one, or None if none is ready."""
        engine = self._engines.get((name, None))
        return engine.manifest.version if engine else None

    def of(self, name: str, version: int | None = None) -> list[Version]:
        """Return all versions of a model, or the given one. Raises UnknownModel."""
        versions = [entry for entry in self.versions if entry.name == name]
        if not versions:
            message = f"model: there is no model {name!r}; known models: {', '.join(self.names) or 'none'}"
            raise UnknownModel(message, field="model", expected=self.names)
        if version is None:
            return versions
        if not (found := [entry for entry in versions if entry.version == version]):
            known = [entry.version for entry in versions]
            message = f"version: model {name!r} has no version {version}; known versions: {', '.join(map(str, known))}"
            raise UnknownModel(message, field="version", expected=known)
        return found

    def serving(self) -> dict[str, list[int]]:
        """Return the ready versions, by model."""
        ready = [entry for entry in self.versions if entry.state == "ready"]
        return {name: [entry.version for entry in ready if entry.name == name] for name in self.names}

    def _with_defaults(self, engines: Mapping[Identity, Engine]) -> dict[tuple[str | None, int | None], Engine]:
        """Return engines by (name, version), and by (name, None) that of the pinned or the highest version."""
        found: dict[tuple[str | None, int | None], Engine] = {(*identity,): engines[identity] for identity in engines}
        chosen = {identity.name: identity.version for identity in sorted(engines)} | dict(self._pins)
        for name, version in chosen.items():
            if (name, version) in found:
                found[name, None] = found[name, version]
        return found

    def _refusal(self, name: str | None, version: int | None) -> NotReady:
        """Return the error of a version without an engine. Raises UnknownModel for one that does not exist."""
        if name is None or not self.versions:
            return NotReady(self.problem, failures=self.failures)
        if name in self._entries and name not in self.names:
            return NotReady(f"{name} {self._entries[name]}", failures={name: self._entries[name]})
        versions = self.of(name, version)
        failures = {place: reason for place, reason in self.failures.items() if place.startswith(f"{name}/")}
        if version is None:
            return NotReady(self._why_unavailable(name), failures=failures)
        return NotReady(f"{name}/{version} is not ready: {versions[0].reason}", failures=failures)

    def _why_unavailable(self, name: str) -> str:
        """Return why an existing model has no default version."""
        if (pin := self._pins.get(name)) and self.serving()[name]:
            serving = ", ".join(map(str, self.serving()[name]))
            return f"model {name!r} is pinned to version {pin}, which is not ready; ready versions: {serving}"
        if {entry.reason for entry in self.of(name)} == {UNLOADED}:
            return f"model {name!r} is unloaded; load it to use it again"
        return f"no version of {name} is ready"

    def _find_problem(self, strict: bool) -> str:
        if not self.versions:
            why = f": {self._store_problem}" if self._store_problem else "; publish one with `dropserve train`"
            return f"there is no model in {self._location}{why}"
        named = [self._set_default, *(self._pins if strict else ())]
        if missing := [name for name in named if name and name not in self.names]:
            kind = "default" if missing[0] == self._set_default else "pinned"
            return f"the {kind} model {missing[0]!r} is not among {', '.join(self.names)}"
        if strict and any(entry.state == "loading" for entry in self.versions):
            return "the models are being loaded"
        needed = [name for name in self.names if strict or name == self.default_model]
        absent = [name for name in needed if (name, None) not in self._engines and not self._may_be_absent(name)]
        return self._why_unavailable(absent[0]) if absent else ""

    def _may_be_absent(self, name: str) -> bool:
        """Return whether a model was unloaded by request and is not the default model."""
        return name != self.default_model and {entry.reason for entry in self.of(name)} == {UNLOADED}


def _describe(identity: Identity, engines: Mapping[Identity, Engine], reasons: Mapping[Identity, str]) -> Version:
    reason = reasons.get(identity, "")
    state: State = "ready" if identity in engines else "loading" if reason == LOADING else "unavailable"
    return Version(*identity, state, reason)


def _first(versions: list[Version]) -> str | None:
    """Return the first model by name that is ready or unloaded by request, or else the first of all.

    An unloaded model stays the default, as unloading must not redirect `/predict` to another model; one that cannot be
    loaded, such as one being copied, does not become it.
    """
    able = [entry.name for entry in versions if entry.state == "ready" or entry.reason == UNLOADED]
    return next(iter(able or [entry.name for entry in versions]), None)


def _is_failure(reason: str) -> bool:
    return reason not in (LOADING, UNLOADED)
