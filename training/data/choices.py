"""The choices that a user can make about data, such as which column is the target."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from service.rows.csv_table import PLAIN
from service.rows.dialect import Dialect


@dataclass(frozen=True, slots=True)
class ImageChoices:
    """The rule by which pictures become rows; a setting of None is inferred from the pictures."""

    size: tuple[int, int] | None = None
    """Height and width in pixels."""
    resize: Literal["crop", "pad", "stretch"] = "crop"
    """The way to the size: cut off, fill up or distort."""
    mode: Literal["L", "RGB"] | None = None
    """Grey or colour."""
    background: str = "#ffffff"
    """The colour under transparent pixels and beside padded pictures."""

    @classmethod
    def for_rows(cls, shape: Sequence[int | None]) -> "ImageChoices":
        """Return the choices for rows of shape (channels, height, width), where None is any size; defaults for other
        shapes.
        """
        if len(shape) != 3:
            return cls()
        channels, height, width = shape
        size = None if height is None or width is None else (height, width)
        return cls(size, mode={1: "L", 3: "RGB"}.get(channels or 0))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Choices:
    """Choices about a data set. Only a table needs one, its `target`; the rest is inferred."""

    target: str | None = None
    """The column to learn."""
    ignore: tuple[str, ...] = ()
    """Columns that are not used."""
    categorical: tuple[str, ...] = ()
    """Columns whose values are names, also where they are whole numbers."""
    task: Literal["auto", "classification", "regression"] = "auto"
    missing: Literal["refuse", "drop", "median"] = "refuse"
    """The treatment of missing values: an error, rows left out, or the column's median."""
    images: ImageChoices = ImageChoices()
    dialect: Dialect = PLAIN
    """Delimiter, decimal mark and encoding of a text file."""
