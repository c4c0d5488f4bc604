"""What serves at one moment. It never changes: a swap is one assignment of a new one, and a lookup needs no lock."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from service.engine.engine import Engine
from service.errors import NotReady, UnknownModel
from service.repository.folder import Identity

State = Literal["ready", "loading", "unavailable"]

LOADING = "being loaded"
UNLOADED = "unloaded"
"""Reasons that are no failures."""


class Version(NamedTuple):
    """A version that is in the folder, or serves."""

    name: str
    version: int
    state: State
    reason: str
    """Why it is unavailable; of a ready one, why its newer files are not served. Else empty."""


class Catalogue:
    """Engines by model and version, and the reasons of those that are not there."""

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
        """`entries`: other places in the folder of models than versions, and why nothing there serves.

        `strict`: one model without a version that serves makes the whole not ready.
        """
        self.versions = [_describe(identity, engines, reasons) for identity in sorted({*engines, *reasons})]
        self.names = list(dict.fromkeys(version.name for version in self.versions))
        self.default_model = default_model or _first(self.versions)
        self._set_default = default_model
        self._pins = pins or {}
        self._location = location
        self._store_problem = store_problem
        self._entries = entries or {}
        self._engines = self._by_question(engines)
        self.failures = {str(identity): reason for identity, reason in reasons.items() if _is_failure(reason)}
        self.failures |= self._entries
        if store_problem:
            self.failures[location] = store_problem
        self.problem = self._find_problem(strict)
        """Why the service is not ready; empty when it is."""

    def find(self, name: str | None, version: int | None) -> Engine:
        """The engine asked for; raises NotReady or UnknownModel, with what there is."""
        name = name or self.default_model
        engine = self._engines.get((name, version))
        if engine is None:
            raise self._refusal(name, version)
        return engine

    def default_version(self, name: str) -> int | None:
        """The version that answers when none is named, pinned or the highest; None when none does."""
        engine = self._engines.get((name, None))
        return engine.manifest.version if engine else None

    def of(self, name: str, version: int | None = None) -> list[Version]:
        """What there is of a model, or the one version asked for; raises UnknownModel."""
        versions = [entry for entry in self.versions if entry.name == name]
        if not versions:
            message = f"model: there is no model {name!r}; there are: {', '.join(self.names) or 'none'}"
            raise UnknownModel(message, field="model", expected=self.names)
        if version is None:
            return versions
        if not (asked := [entry for entry in versions if entry.version == version]):
            known = [entry.version for entry in versions]
            message = f"version: model {name!r} has no version {version}; it has: {', '.join(map(str, known))}"
            raise UnknownModel(message, field="version", expected=known)
        return asked

    def serving(self) -> dict[str, list[int]]:
        """The versions that serve, by model."""
        ready = [entry for entry in self.versions if entry.state == "ready"]
        return {name: [entry.version for entry in ready if entry.name == name] for name in self.names}

    def _by_question(self, engines: Mapping[Identity, Engine]) -> dict[tuple[str | None, int | None], Engine]:
        """Every (name, version) that has an answer; a version of None means the pinned one, else the highest."""
        questions: dict[tuple[str | None, int | None], Engine] = {
            (*identity,): engines[identity] for identity in engines
        }
        chosen = {identity.name: identity.version for identity in sorted(engines)} | dict(self._pins)
        for name, version in chosen.items():
            if (name, version) in questions:
                questions[name, None] = questions[name, version]
        return questions

    def _refusal(self, name: str | None, version: int | None) -> NotReady:
        """Why there is no such engine; raises UnknownModel when there is no such version."""
        if name is None or not self.versions:
            return NotReady(self.problem, failures=self.failures)
        if name in self._entries and name not in self.names:
            return NotReady(f"{name} {self._entries[name]}", failures={name: self._entries[name]})
        asked = self.of(name, version)
        failures = {place: reason for place, reason in self.failures.items() if place.startswith(f"{name}/")}
        if version is None:
            return NotReady(self._why_silent(name), failures=failures)
        return NotReady(f"{name}/{version} does not serve: {asked[0].reason}", failures=failures)

    def _why_silent(self, name: str) -> str:
        """Why a model that is there does not answer."""
        if (pin := self._pins.get(name)) and self.serving()[name]:
            serving = ", ".join(map(str, self.serving()[name]))
            return f"model {name!r} is pinned to version {pin}, which does not serve; those that do: {serving}"
        if {entry.reason for entry in self.of(name)} == {UNLOADED}:
            return f"model {name!r} is unloaded; it serves again once it is loaded"
        return f"no version of {name} can be served"

    def _find_problem(self, strict: bool) -> str:
        if not self.versions:
            why = f": {self._store_problem}" if self._store_problem else "; publish one with `dropserve train`"
            return f"there is no model in {self._location}{why}"
        named = [self._set_default, *(self._pins if strict else ())]
        if missing := [name for name in named if name and name not in self.names]:
            kind = "default" if missing[0] == self._set_default else "pinned"
            return f"the {kind} model {missing[0]!r} is not among {', '.join(self.names)}"
        needed = [name for name in self.names if strict or name == self.default_model]
        silent = [name for name in needed if (name, None) not in self._engines and not self._is_let_go(name)]
        return self._why_silent(silent[0]) if silent else ""

    def _is_let_go(self, name: str) -> bool:
        """Unloaded by request, and not the one that is asked by default: nothing is amiss."""
        return name != self.default_model and {entry.reason for entry in self.of(name)} == {UNLOADED}


def _describe(identity: Identity, engines: Mapping[Identity, Engine], reasons: Mapping[Identity, str]) -> Version:
    reason = reasons.get(identity, "")
    state: State = "ready" if identity in engines else "loading" if reason == LOADING else "unavailable"
    return Version(*identity, state, reason)


def _first(versions: list[Version]) -> str | None:
    """The first model by name; one that cannot serve, such as one that is being copied, takes nobody's place.

    One that was unloaded keeps its place: `/predict` must not turn to another model by that.
    """
    able = [entry.name for entry in versions if entry.state == "ready" or entry.reason == UNLOADED]
    return next(iter(able or [entry.name for entry in versions]), None)


def _is_failure(reason: str) -> bool:
    return reason not in (LOADING, UNLOADED)
