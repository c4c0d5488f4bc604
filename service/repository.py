"""The folder of published models, `<name>/<version>/`: find them, load them, look them up."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog

from service.engine import Engine
from service.errors import InvalidModel, NotReady, UnknownModel
from service.loading import load_model
from service.manifest import NAME
from service.masks import MaskCache

log = structlog.get_logger(__name__)


class Repository:
    """All models of a folder, verified and loaded; a damaged one is refused, and its reason kept."""

    def __init__(self, folder: Path, masks: MaskCache, *, default_model: str | None = None, threads: int = 1) -> None:
        self.folder = folder
        self.failures: dict[str, str] = {}
        """`name/version` → why it does not serve."""
        self.loaded = False
        """Whether `load_all` has been through the folder."""
        self._masks = masks
        self._default_model = default_model
        self._threads = threads
        self._engines: dict[str, dict[int, Engine]] = {}

    def load_all(self) -> None:
        """Load every version of every model; a version that fails is logged and left out."""
        for folder in find_models(self.folder):
            self._load(folder)
        self.loaded = True

    def _load(self, folder: Path) -> None:
        identity = f"{folder.parent.name}/{folder.name}"
        try:
            engine = load_model(folder, self._masks, threads=self._threads)
        except InvalidModel as error:
            self._refuse(identity, error.message)
            return
        except Exception as error:  # one model, however odd, must not keep the others from serving
            log.exception("unexpected error", model=identity)
            self._refuse(identity, f"unexpected error: {error}")
            return
        self._engines.setdefault(engine.manifest.name, {})[engine.manifest.version] = engine
        log.info("model loaded", model=identity)

    def _refuse(self, identity: str, reason: str) -> None:
        self.failures[identity] = reason
        log.error("model refused", model=identity, reason=reason)

    def find(self, name: str | None = None, version: int | None = None) -> Engine:
        """The engine asked for: no name means the default model, no version the highest.

        Raises NotReady when it was refused or nothing is loaded, UnknownModel when there is no such model.
        """
        self._check_loaded()
        name = name or self.default_model
        versions = self._engines.get(name)
        if versions is None:
            self._check_not_refused(name)
            raise UnknownModel(
                f"model: there is no model {name!r}; there are: {', '.join(self._engines)}",
                field="model",
                expected=list(self._engines),
            )
        if version is None:
            version = max(versions)
        if version not in versions:
            known = sorted(versions)
            raise UnknownModel(
                f"version: model {name!r} has no version {version}; it has: {', '.join(map(str, known))}",
                field="version",
                expected=known,
            )
        return versions[version]

    @property
    def default_model(self) -> str:
        """The one set, else the first by name."""
        return self._default_model or min(self._engines)

    def status(self) -> dict[str, Any]:
        """What serves and what was refused, as `/readyz` tells it. Raises NotReady when there is nothing."""
        self.check_ready()
        return {
            "status": "ready",
            "default_model": self.default_model,
            "models": {name: sorted(versions) for name, versions in sorted(self._engines.items())},
            "failures": self.failures,
        }

    def check_ready(self) -> None:
        """Raise NotReady, with the reason, unless each model found has a version that serves."""
        self._check_loaded()
        for identity in self.failures:
            self._check_not_refused(identity.split("/")[0])

    def _check_loaded(self) -> None:
        if not self.loaded:
            raise NotReady("the models are being loaded")
        if not self._engines and self.failures:
            raise NotReady(f"no model can be served: {'; '.join(self.failures.values())}", failures=self.failures)
        if not self._engines:
            raise NotReady(f"there is no model in {self.folder}; publish one with `python -m training train`")
        if self._default_model and self._default_model not in self._engines:
            self._check_not_refused(self._default_model)
            raise NotReady(f"the default model {self._default_model!r} is not among {', '.join(self._engines)}")

    def _check_not_refused(self, name: str) -> None:
        """Raise NotReady, with the reasons, when no version of the model can be served."""
        reasons = {identity: why for identity, why in self.failures.items() if identity.split("/")[0] == name}
        if reasons and name not in self._engines:
            raise NotReady(f"no version of {name} can be served: {'; '.join(reasons.values())}", failures=reasons)


def find_models(folder: Path) -> Iterator[Path]:
    """The folders `<name>/<version>/` below a repository; what is hidden or unfinished is passed over."""
    for model in sorted(folder.glob("*")):
        if NAME.fullmatch(model.name):
            versions = [version for version in model.glob("*") if version.name.isdecimal()]
            yield from sorted(versions, key=lambda version: int(version.name))
