"""Write a finished model to `models/<name>/<version>/`, verified and atomically."""

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time
from types import MappingProxyType

from service.engine.engine import Engine
from service.engine.masks import MaskCache
from service.loading.load import load_model
from service.model.manifest import (
    GOLDEN,
    MANIFEST,
    PREDICT_GRAPH,
    SAMPLE_GRAPH,
    WEIGHTS,
    Manifest,
    sha256,
    write_manifest,
)
from training.errors import PublishFailed
from training.exporting.verify import Verified
from training.exporting.weights import Weights
from training.publish.card import model_card

FinalCheck = Callable[[Engine], None]
"""A function that raises an error where the finished model must not be published."""

CARD = "MODEL_CARD.md"
OF_GRAPHS = ("inputs", "output", "sites", "bypassed_sites")
"""Fields of the manifest that describe the graphs."""
STAGING = ".publish-"
"""The prefix of temporary folders."""
LEFT_AFTER = 86400.0
"""Seconds after which a temporary folder is taken for that of a killed process."""
MASK_BYTES = 2**26
"""Memory for masks, in bytes."""
TAKEN = (errno.EEXIST, errno.ENOTEMPTY)
"""Errors of a rename onto a folder that has files."""
NO_PLOTS: Mapping[str, bytes] = MappingProxyType({})
READABLE_BY_ALL = 0o644
"""Mode of files, which the user of a container must read."""
ENTERABLE_BY_ALL = 0o755
"""Mode of folders, which the user of a container must enter."""


def publish(
    models: Path,
    draft: Manifest,
    graphs: Verified,
    golden: bytes,
    plots: Mapping[str, bytes] = NO_PLOTS,
    final_check: FinalCheck = lambda _: None,
) -> tuple[Path, Manifest]:
    """Write the next version of the model, its manifest last; return its folder and manifest.

    Plots go beside the card, by file name. The draft's version and digests are replaced. The draft must describe the
    verified graphs. All files are written to a temporary folder, loaded as by the service, passed to `final_check`, and
    renamed into place, so that a reader finds a whole version or none; a version number that another process takes
    meanwhile is left to it. Raises PublishFailed or InvalidModel, and any error of `final_check`.
    """
    if any(getattr(draft, field) != getattr(graphs, field) for field in OF_GRAPHS):
        raise PublishFailed("the manifest's inputs, output and sites must be those of the verified graphs")
    files = {PREDICT_GRAPH: graphs.predict, SAMPLE_GRAPH: graphs.sample, GOLDEN: golden, **plots}
    with _staging(models) as staging:
        while True:
            version = next_version(models / draft.name)
            folder = staging / draft.name / str(version)
            manifest = _write(folder, draft.model_copy(update={"version": version}), files, graphs.weights)
            final_check(load_model(folder, MaskCache(MASK_BYTES), max_bytes=sys.maxsize))
            if _move(folder, models / draft.name / str(version)):
                return models / draft.name / str(version), manifest


def check_writable(models: Path) -> None:
    """Raise PublishFailed where `publish` could not write; called before hours of training."""
    with _staging(models):
        pass


@contextmanager
def _staging(models: Path) -> Iterator[Path]:
    """Make a temporary folder beside the models."""
    try:
        models.mkdir(parents=True, exist_ok=True)
        _clear_away(models)
        with tempfile.TemporaryDirectory(dir=models, prefix=STAGING) as staging:
            yield Path(staging)
    except OSError as error:
        raise PublishFailed(f"{error.filename or models}: cannot be written: {error.strerror}") from None


def _clear_away(models: Path) -> None:
    """Delete the temporary folders of killed processes: publishing takes seconds, and these are a day old."""
    for left in models.glob(f"{STAGING}*"):
        with suppress(FileNotFoundError):  # another publisher has just finished
            if time() - left.stat().st_mtime > LEFT_AFTER:
                shutil.rmtree(left, ignore_errors=True)


def next_version(folder: Path) -> int:
    """Return one more than the highest version in a model's folder."""
    taken = [int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal()] if folder.is_dir() else []
    return 1 + max(taken, default=0)


def _write(folder: Path, manifest: Manifest, files: Mapping[str, bytes], weights: Weights) -> Manifest:
    """Fill the folder and flush it to the disk, readable for the user of a container."""
    folder.mkdir(parents=True)
    digests = {name: sha256(content) for name, content in files.items()}
    if weights.folder:
        shutil.copyfile(weights.folder / WEIGHTS, folder / WEIGHTS)
        digests[WEIGHTS] = weights.sha256
    card = model_card(manifest.model_copy(update={"files": digests})).encode()
    contents = {**files, CARD: card}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    finished = manifest.model_copy(update={"files": {**digests, CARD: sha256(card)}})
    write_manifest(finished, folder)
    for name in (*finished.files, MANIFEST):
        (folder / name).chmod(READABLE_BY_ALL)
        _sync(folder / name)
    folder.chmod(ENTERABLE_BY_ALL)
    _sync(folder)
    return finished


def _move(folder: Path, place: Path) -> bool:
    """Return whether the place was free. A rename onto a folder with files fails, which is the lock."""
    if not place.parent.exists():
        place.parent.mkdir(exist_ok=True)
        place.parent.chmod(ENTERABLE_BY_ALL)
        _sync(place.parent.parent)
    try:
        folder.rename(place)
    except OSError as error:
        if error.errno in TAKEN:
            return False
        raise
    _sync(place.parent)
    return True


def _sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
