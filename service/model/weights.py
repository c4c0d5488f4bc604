"""The weights of a model in one file, which both of its graphs read."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.errors import InvalidModel
from service.model.manifest import WEIGHTS, Manifest, open_plain

CHUNK = 2**20


@contextmanager
def private_copy(manifest: Manifest, folder: Path, max_bytes: int) -> Iterator[Path | None]:
    """Yield a folder with a verified copy of a model's weights, which other users cannot change; None without any.

    The copy is deleted at the end; graphs that were loaded meanwhile have it mapped. Raises InvalidModel for weights
    that differ from their digest, and where they cannot be copied.
    """
    if WEIGHTS not in manifest.files:
        yield None
        return
    with _temporary_folder() as private:
        digest = _copy(folder / WEIGHTS, private / WEIGHTS, max_bytes)
        if digest != manifest.files[WEIGHTS]:
            raise InvalidModel(
                f"{folder / WEIGHTS}: is damaged: its SHA-256 is {digest}, the manifest says {manifest.files[WEIGHTS]}",
                file=WEIGHTS,
            )
        yield private


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    try:
        made = tempfile.TemporaryDirectory(prefix="dropserve-", ignore_cleanup_errors=True)
    except OSError as error:
        raise InvalidModel(f"{WEIGHTS}: no folder for its copy; set TMPDIR: {error.strerror}", file=WEIGHTS) from None
    with made as folder:
        yield Path(folder)


def _copy(source: Path, target: Path, max_bytes: int) -> str:
    """Copy a file and return the SHA-256 of the copied bytes."""
    digest = hashlib.sha256()
    try:
        with open_plain(source, max_bytes) as file, target.open("xb") as copy:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                copy.write(chunk)
    except OSError as error:
        raise InvalidModel(f"{source}: cannot be copied to {target.parent}: {error.strerror}", file=WEIGHTS) from None
    return digest.hexdigest()
