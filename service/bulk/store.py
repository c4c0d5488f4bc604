"""Files, wherever fsspec finds them: a folder, S3, Google Cloud Storage, HTTP …"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import fsspec

from service.errors import InvalidInput

BESIDE = "_beside-"
"""How the name of a file begins that is being written. Readers of a folder of Parquet pass over `_…`."""


class Store:
    """The files below a folder or a URL."""

    def __init__(self, place: str) -> None:
        try:
            self._files, root = fsspec.url_to_fs(place)
        except (ValueError, ImportError) as error:
            raise InvalidInput(f"{place}: {error}", field="out") from None
        self._root = root.rstrip("/")
        self.place: str = self._files.unstrip_protocol(self._root)
        """The same for any process."""

    def names(self) -> set[str]:
        """Of what is there; nothing where the folder is not there yet."""
        self._files.invalidate_cache()
        if not self._files.exists(self._root):
            return set()
        return {path.rpartition("/")[2] for path in self._files.ls(self._root, detail=False)}

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError."""
        content: bytes = self._files.cat_file(self._path(name))
        return content

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """A file that is there under its name once it is whole, and not before."""
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
        """Remove what processes that died were writing."""
        for name in self.names():
            if name.startswith(BESIDE):
                self._files.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def find(pattern: str) -> list[tuple[str, str]]:
    """The files of a path, of a pattern such as `rows/*.csv`, or Parquet files of a folder: (place, state), by name.

    The state changes when the file does. Raises InvalidInput when there is none.
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
    """A file that was found. Raises OSError."""
    files, path = fsspec.url_to_fs(place)
    file: IO[bytes] = files.open(path, "rb")
    return file


def _state(info: dict[str, Any]) -> str:
    """Bytes, and whatever the store has that changes with the content."""
    changes = (info[name] for name in ("ETag", "etag", "mtime", "LastModified", "updated") if info.get(name))
    return f"{info['size']} bytes, {next(changes, 'of unknown time')}"
