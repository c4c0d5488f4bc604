"""A finished model → `models/<name>/<version>/`: all of it, verified, or nothing."""

import errno
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from service.loading import load_model
from service.manifest import MANIFEST, Manifest, sha256, write_manifest
from service.masks import MaskCache
from training.card import model_card
from training.errors import PublishFailed

CARD = "MODEL_CARD.md"
MASK_BYTES = 2**26
TAKEN = (errno.EEXIST, errno.ENOTEMPTY)
READABLE_BY_ALL = 0o644
ENTERABLE_BY_ALL = 0o755


def publish(models: Path, draft: Manifest, files: Mapping[str, bytes]) -> tuple[Path, Manifest]:
    """Write the next version of the model: its files, its card, and last its manifest; folder and manifest of it.

    The draft's version and digests are replaced. Everything is written beside, loaded as the service would
    load it, and then renamed into place, so that a reader sees a whole version or none; a number that
    another publisher takes meanwhile is left to him. Raises PublishFailed or InvalidModel.
    """
    try:
        models.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=models, prefix=".publish-") as staging:
            while True:
                version = next_version(models / draft.name)
                manifest = draft.model_copy(update={"version": version})
                folder = Path(staging) / draft.name / str(version)
                manifest = _write(folder, manifest, files)
                load_model(folder, MaskCache(MASK_BYTES))
                if _move(folder, models / draft.name / str(version)):
                    return models / draft.name / str(version), manifest
    except OSError as error:
        raise PublishFailed(f"{error.filename or models}: cannot be written: {error.strerror}") from None


def next_version(folder: Path) -> int:
    """One more than the highest version in a model's folder."""
    taken = [int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal()] if folder.is_dir() else []
    return 1 + max(taken, default=0)


def _write(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Manifest:
    """Fill the folder, and see that it is on the disk and that the user of a container may read it."""
    folder.mkdir(parents=True)
    contents = {**files, CARD: model_card(manifest).encode()}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    finished = manifest.model_copy(update={"files": {name: sha256(content) for name, content in contents.items()}})
    write_manifest(finished, folder)
    for name in (*contents, MANIFEST):
        (folder / name).chmod(READABLE_BY_ALL)
        _sync(folder / name)
    folder.chmod(ENTERABLE_BY_ALL)
    _sync(folder)
    return finished


def _move(folder: Path, place: Path) -> bool:
    """Whether the place was free. A rename onto a folder with something in it fails, and that is the lock."""
    if not place.parent.exists():
        place.parent.mkdir(exist_ok=True)
        place.parent.chmod(ENTERABLE_BY_ALL)
    try:
        folder.rename(place)
    except OSError as error:
        if error.errno in TAKEN:
            return False
        raise
    _sync(place.parent)
    return True


def _sync(path: Path) -> None:
    """Onto the disk, file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
