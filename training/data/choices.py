"""What a user may say about data: which column is the target, which are to be ignored, and so on."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Choices:
    """Only `target` must be named, and only of a table; the rest is inferred."""

    target: str | None = None
    ignore: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    task: Literal["auto", "classification", "regression"] = "auto"
    missing: Literal["refuse", "drop"] = "refuse"
