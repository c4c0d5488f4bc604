"""Open the store of the prediction log: a folder of Parquet files, or a database by its URL."""

from pathlib import Path
from typing import TYPE_CHECKING

from service.errors import InvalidStore
from service.extras import remedy

if TYPE_CHECKING:
    from service.review.store import Store  # imports onnxruntime, which no supervisor needs

DATABASES = ("sqlite", "postgresql")


def open_store(where: str | Path) -> "Store":
    """Return the store at a folder or a database's URL, without reading or writing.

    Raises InvalidStore for a URL of another database than SQLite and PostgreSQL, and for a missing package.
    """
    kind, is_database, _ = str(where).partition("://")
    if is_database and kind.partition("+")[0] not in DATABASES:
        raise InvalidStore(f"expected a folder, or a URL of sqlite or postgresql; found {kind}")
    try:
        if is_database:
            from service.review.sql import SqlStore  # optional dependencies

            return SqlStore(str(where))
        from service.review.parquet import ParquetStore

        return ParquetStore(Path(where))
    except ModuleNotFoundError as error:
        raise InvalidStore(f"needs {error.name}; {remedy('log')}") from None
