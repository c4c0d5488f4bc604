"""Find the format of a file from its name or content, unpack gzip, and open tables."""

import gzip
import io
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from service.errors import InvalidInput, MalformedBody
from service.extras import remedy
from service.rows.arrays import MAGIC_OF_NPY, MAGIC_OF_ZIP
from service.rows.column import Table
from service.rows.csv_table import PLAIN, Cells, CsvTable
from service.rows.dialect import Dialect
from service.rows.json_lines import JsonLinesTable

Format = Literal["json", "jsonl", "csv", "npz", "npy", "parquet"]
SUFFIXES: dict[str, Format] = {
    "json": "json",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "csv": "csv",
    "tsv": "csv",
    "npz": "npz",
    "npy": "npy",
    "parquet": "parquet",
    "pq": "parquet",
}
TABLES: tuple[Format, ...] = ("csv", "jsonl", "parquet")
GZIP = b"\x1f\x8b"
MAGIC: dict[bytes, Format] = {MAGIC_OF_ZIP: "npz", MAGIC_OF_NPY: "npy", b"PAR1": "parquet"}
LINES = re.compile(rb"\s*[\[{][^\n]*[\]}]\s*\n\s*[\[{]")
"""The start of JSON Lines: a JSON value that ends in its line, followed by another."""


def format_of_name(name: str) -> Format | None:
    """Return the format by a file's suffix, ignoring `.gz`, or None for an unknown suffix."""
    return SUFFIXES.get(name.lower().removesuffix(".gz").rpartition(".")[2])


def find_format(name: str, content: bytes) -> Format:
    """Return the format of an uncompressed file from its name, or else from its content."""
    if named := format_of_name(name):
        return named
    for start, found in MAGIC.items():
        if content.startswith(start):
            return found
    if LINES.match(content):
        return "jsonl"
    return "json" if content.lstrip()[:1] in (b"[", b"{") else "csv"


def unpack(content: bytes) -> bytes:
    """Return the content of a gzip file, and other content unchanged. Raises MalformedBody for damaged gzip."""
    if not content.startswith(GZIP):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise MalformedBody(f"is damaged gzip: {error}") from None


@dataclass(frozen=True, slots=True)
class RowsFile:
    """A file of rows: its name, format and unpacked content."""

    name: str
    kind: Format
    content: bytes | Path
    """The content, or the path of Parquet, which is read in place."""
    dialect: Dialect = PLAIN
    """The options of a text file."""

    @classmethod
    def of_bytes(cls, name: str, content: bytes, dialect: Dialect = PLAIN) -> "RowsFile":
        """Return a file in memory. Raises MalformedBody for damaged gzip."""
        content = unpack(content)
        return cls(name, find_format(name, content), content, dialect)

    @classmethod
    def of_path(cls, path: Path, dialect: Dialect = PLAIN) -> "RowsFile":
        """Return a file, or a folder of Parquet files.

        Raises OSError, MalformedBody for damaged gzip, and InvalidInput for a folder without Parquet files.
        """
        if path.is_dir():
            if not files_of_folder(path):
                raise InvalidInput("is a folder; expected Parquet files (*.parquet) in it", field="file")
            return cls(path.name, "parquet", path, dialect)
        with path.open("rb") as file:
            if format_of_name(path.name) == "parquet" and file.read(len(GZIP)) != GZIP:
                return cls(path.name, "parquet", path, dialect)
        return cls.of_bytes(path.name, path.read_bytes(), dialect)

    def table(self) -> Table:
        """Open a file of one of the formats TABLES with named columns. Raises MalformedBody or InvalidInput."""
        return open_table(self.content, self.kind, self.dialect)


def open_table(
    content: bytes | Path,
    kind: Format,
    dialect: Dialect = PLAIN,
    *,
    features: Sequence[str] = (),
    has_header: Callable[[Cells], bool] = lambda _: True,
) -> Table:
    """Open a table of one of the formats TABLES; `features` name the values of lists in JSON Lines.

    Raises MalformedBody, or InvalidInput, also for Parquet if pyarrow is not installed.
    """
    if isinstance(content, Path) or kind == "parquet":
        return _open_parquet(content)
    if kind == "jsonl":
        return JsonLinesTable(content, features)
    return CsvTable(content, dialect, has_header)


def _open_parquet(source: bytes | Path) -> Table:
    """Open Parquet from its bytes, a file, or a folder of files. Raises MalformedBody or InvalidInput."""
    try:
        from service.rows.parquet_table import ParquetTable
    except ModuleNotFoundError as error:
        raise InvalidInput(f"Parquet needs {error.name}; {remedy('score')}", field="file") from None
    if isinstance(source, bytes):
        return ParquetTable([io.BytesIO(source)])
    return ParquetTable(files_of_folder(source) if source.is_dir() else [source])


def holds_parquet(folder: Path) -> bool:
    """Return whether a folder has Parquet files, rather than images."""
    return any(folder.glob("*.parquet")) or any(folder.glob("*=*/*.parquet"))


def files_of_folder(folder: Path) -> list[Path]:
    """Return the Parquet files of a folder, by name, without those whose names begin with . or _, like Spark.

    Raises InvalidInput for a folder with partitions (`column=value`).
    """
    for entry in folder.iterdir():
        if entry.is_dir() and "=" in entry.name:
            raise InvalidInput(
                f"{entry.name}: the folder has partitions, whose column is in no file; write it as one table",
                field="file",
            )
    return sorted(path for path in folder.glob("*.parquet") if path.is_file() and path.name[0] not in "._")
