"""Files in any store of fsspec: a folder, S3, Google Cloud Storage, HTTP, …"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import fsspec

from service.errors import InvalidInput

BESIDE = "_beside-"
"""The start of the names of incomplete files; readers of Parquet folders ignore names with `_`."""


class Store:
    """The files below a folder or a URL."""

    def __init__(self, place: str) -> None:
        """Open a folder or URL. Raises InvalidInput for an invalid URL or a missing package."""
        try:
            self._files, root = fsspec.url_to_fs(place)
        except (ValueError, ImportError) as error:
            raise InvalidInput(f"{place}: {error}", field="out") from None
        self._root = root.rstrip("/")
        self.place: str = self._files.unstrip_protocol(self._root)
        """The full URL, the same for every process."""

    def names(self) -> set[str]:
        """Return the names of all files; none for a folder that does not exist yet."""
        self._files.invalidate_cache()
        if not self._files.exists(self._root):
            return set()
        return {path.rpartition("/")[2] for path in self._files.ls(self._root, detail=False)}

    def read(self, name: str) -> bytes:
        """Return the content of a file. Raises FileNotFoundError."""
        content: bytes = self._files.cat_file(self._path(name))
        return content

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """Yield a file to write, which gets its name once it is complete."""
        self._files.makedirs(self._root, exist_ok=True)
        beside = self._path(f"{BESIDE}{secrets.token_hex(8)}-{name}")
        try:
            with self._files.open(beside, "wb") as file:
                yield file
            self._files.mv(beside, self._path(name))
        except BaseException:
            if self._files.exists(beside):
                self._files.rm_file(beside)
            raise

    def sweep(self) -> None:
        """Remove incomplete files of processes that died."""
        for name in self.names():
            if name.startswith(BESIDE):
                self._files.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def find(pattern: str) -> list[tuple[str, str]]:
    """Return (place, state) of the files of a path, a pattern such as `rows/*.csv`, or a folder of Parquet, by name.

    The state changes with the file. Raises InvalidInput if there is none.
    """
    try:
        files, path = fsspec.url_to_fs(pattern)
        found = files.glob(f"{path.rstrip('/')}/*.parquet" if files.isdir(path) else path, detail=True)
    except (ValueError, ImportError, OSError) as error:
        raise InvalidInput(f"{pattern}: {error}", field="inputs") from None
    if not found:
        raise InvalidInput(f"{pattern}: there is no such file", field="inputs")
    return [(files.unstrip_protocol(path), _state(info)) for path, info in sorted(found.items())]


def open_file(place: str) -> IO[bytes]:
    """Open a file for reading. Raises OSError."""
    files, path = fsspec.url_to_fs(place)
    file: IO[bytes] = files.open(path, "rb")
    return file


def _state(info: dict[str, Any]) -> str:
    """Return the bytes, and a field of the store that changes with the content."""
    changes = (info[name] for name in ("ETag", "etag", "mtime", "LastModified", "updated") if info.get(name))
    return f"{info['size']} bytes, {next(changes, 'of unknown time')}"
