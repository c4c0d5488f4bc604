"""Open the prediction log where the settings say it is kept: a folder of Parquet files, or a database by its URL."""

from pathlib import Path

from service.errors import InvalidStore
from service.extras import remedy
from service.review.store import Store

DATABASES = ("sqlite", "postgresql")


def open_store(where: str | Path) -> Store:
    """A folder, or a database by its URL; nothing is read or written yet.

    Raises InvalidStore for a URL that is none of SQLite's or PostgreSQL's, and where what it needs is not installed.
    """
    kind, is_database, _ = str(where).partition("://")
    if is_database and kind.partition("+")[0] not in DATABASES:
        raise InvalidStore(f"expected a folder, or a URL of sqlite or postgresql; found {kind}")
    try:
        if is_database:
            from service.review.sql import SqlStore  # what they need is an extra, and only then imported

            return SqlStore(str(where))
        from service.review.parquet import ParquetStore

        return ParquetStore(Path(where))
    except ModuleNotFoundError as error:
        raise InvalidStore(f"needs {error.name}; {remedy('log')}") from None
