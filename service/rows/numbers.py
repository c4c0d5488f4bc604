"""Read numbers as written by people and spreadsheets: with a decimal point or comma, with or without digit groups."""

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal as Exact
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Decimal = Literal[".", ","]
OTHER: dict[Decimal, Decimal] = {".": ",", ",": "."}

GROUPS = " \u00a0\u2009\u202f'\u2019"
"""Separators of groups of three digits, in addition to the comma or point that is not the decimal mark."""
MINUS = "\u2212"

NOTHING = {
    "", "nan", "-nan", "na", "n/a", "<na>", "null", "none", "#n/a", "#na", "1.#qnan", "-1.#qnan", "1.#ind", "-1.#ind",
}  # fmt: skip
"""Texts for a missing number, in lower case."""


def _grammar(decimal: Decimal) -> re.Pattern[str]:
    mark, group = re.escape(decimal), f"(?P<group>[{re.escape(OTHER[decimal])}{GROUPS}])"
    whole = rf"(?:[1-9][0-9]{{0,2}}{group}[0-9]{{3}}(?:(?P=group)[0-9]{{3}})*|[0-9]+)"
    value = rf"(?:{whole}(?:{mark}[0-9]*)?|{mark}[0-9]+)(?:[eE][+-]?[0-9]+)?"
    return re.compile(rf"[+{MINUS}-]?(?:{value}|inf(?:inity)?)", re.IGNORECASE)


NUMBER: dict[Decimal, re.Pattern[str]] = {decimal: _grammar(decimal) for decimal in OTHER}
"""The pattern of a number, by decimal mark; Python's float would accept 1_000 but no digit groups."""
SPELLING: dict[Decimal, dict[int, str | None]] = {
    decimal: str.maketrans({**dict.fromkeys(GROUPS), OTHER[decimal]: None, decimal: ".", MINUS: "-"})
    for decimal in OTHER
}
"""Translations of a number to Python's spelling, by decimal mark."""
UNUSUAL = re.compile(r"[^0-9eE+.\n-]")
"""Characters that are rare in numbers; columns without them are read faster."""
WITHOUT_FRACTION = re.compile(r"([+-]?[0-9]{1,20})(?:\.0*)?")
CODE = re.compile(r"0[0-9]+")
"""A whole number with a leading zero, which is a code such as a postal one."""
LARGEST = 2**63
"""The first number beyond 64-bit whole numbers."""
APART_BELOW = 2.0**53
"""Whole numbers below it, in absolute value, are all different in float64."""

Numbers = NDArray[np.float64] | NDArray[np.int64]


def is_missing(text: str) -> bool:
    """Return whether a stripped cell of a column of numbers means a missing value."""
    return text.lower() in NOTHING


def read_numbers(texts: Sequence[str], decimal: Decimal) -> Numbers | None:
    """Return stripped texts as numbers (texts,), int64 if all are whole and fit; None if one is not a number."""
    joined = "\n".join(texts)
    if decimal == "," or UNUSUAL.search(joined):
        if first_wrong(texts, decimal) is not None:
            return None
        texts = [text.translate(SPELLING[decimal]) for text in texts]
    try:
        return _convert(texts)
    except ValueError:  # such as «1-2»
        return None


def first_wrong(texts: Sequence[str], decimal: Decimal) -> int | None:
    """Return the position of the first stripped text that is not a number, or None."""
    return next((row for row, text in enumerate(texts) if not NUMBER[decimal].fullmatch(text)), None)


def read_whole_number(text: str, decimal: Decimal) -> int | None:
    """Return the whole number in a text, which may be written as 3.0, or None."""
    match = WITHOUT_FRACTION.fullmatch(text.translate(SPELLING[decimal])) if NUMBER[decimal].fullmatch(text) else None
    return int(match[1]) if match else None


def are_merged(values: Iterable[str | float | Exact], numbers: Numbers, decimal: Decimal = ".") -> bool:
    """Return whether different whole numbers among the values became equal in float64."""
    if numbers.dtype.kind != "f" or not APART_BELOW <= np.abs(numbers).max(initial=0) < np.inf:
        return False
    exact = {Exact(value.translate(SPELLING[decimal]) if isinstance(value, str) else value) for value in values}
    whole = [value for value in exact if value == value.to_integral_value()]
    return len(set(map(float, whole))) < len(whole)


def possible_decimals(texts: Sequence[str]) -> set[Decimal]:
    """Return the decimal marks with which all of the stripped texts are numbers."""
    joined = "\n".join(texts)
    point = _are_plain(texts) if not UNUSUAL.search(joined) else first_wrong(texts, ".") is None
    comma = first_wrong(texts, ",") is None if "." in joined or "," in joined else point
    fits: dict[Decimal, bool] = {".": point, ",": comma}
    return {mark for mark in fits if fits[mark]}


def _are_plain(texts: Sequence[str]) -> bool:
    try:
        _convert(texts)
    except ValueError:
        return False
    return True


def _convert(texts: Sequence[str]) -> Numbers:
    try:
        whole = list(map(int, texts))
    except ValueError:
        whole = []
    if len(whole) == len(texts) and all(-LARGEST <= number < LARGEST for number in whole):
        return np.array(whole, dtype=np.int64)
    return np.fromiter(map(float, texts), dtype=np.float64, count=len(texts))
