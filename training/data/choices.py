"""What a user may say about data: which column is the target, which are to be ignored, and so on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from service.rows.csv_table import PLAIN
from service.rows.dialect import Dialect


@dataclass(frozen=True, slots=True)
class ImageChoices:
    """How pictures become rows; what is None is taken from the pictures."""

    size: tuple[int, int] | None = None
    """Height and width."""
    resize: Literal["crop", "pad", "stretch"] = "crop"
    mode: Literal["L", "RGB"] | None = None
    background: str = "#ffffff"

    @classmethod
    def for_rows(cls, shape: Sequence[int | None]) -> "ImageChoices":
        """Pictures for rows of shape (channels, height, width), where None is open; for others nothing is chosen."""
        if len(shape) != 3:
            return cls()
        channels, height, width = shape
        size = None if height is None or width is None else (height, width)
        return cls(size, mode={1: "L", 3: "RGB"}.get(channels or 0))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Choices:
    """Only `target` must be named, and only of a table; the rest is inferred."""

    target: str | None = None
    ignore: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    task: Literal["auto", "classification", "regression"] = "auto"
    missing: Literal["refuse", "drop", "median"] = "refuse"
    images: ImageChoices = ImageChoices()
    dialect: Dialect = PLAIN
    """Of a file of text."""
