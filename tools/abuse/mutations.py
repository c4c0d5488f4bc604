"""Damage valid bytes at random, and with tokens that have broken parsers before."""

import random
import re
from collections.abc import Callable, Sequence

TOKENS = tuple(
    token.encode("utf-8", "surrogatepass")
    for token in (
        *(
            '"',
            "\\",
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "null",
            "true",
            "NaN",
            "-Infinity",
            "1e999",
            "-0",
            "0.1e-400",
            "1.0",
        ),
        *("9223372036854775808", "-9223372036854775809", "18446744073709551616", "1" * 400, "9" * 5000, "0x10", "01"),
        *("\\ud800", "\\u0000", "\ud800", "\0", "\xff", "\ufeff", "\u202e", "é", "𝟙", " " * 100, "\r\n", "\n", "\t"),
        *("[" * 2000, '{"a":' * 2000, '"inputs":', '"data":[]', '"shape":[-1]', '"shape":[4294967296,4294967296]'),
        *('"datatype":"BYTES"', '"datatype":"BF16"', '"parameters":{"binary_data_size":-1}', '"samples":1e9'),
        *("../", "..%2f", "%00", "%0a", "%ff", "//", "?", "#", ";", ",", "=", "1_000", "infinity"),
    )
)

SCALAR = re.compile(rb'-?\d+(?:\.\d+)?(?:e\d+)?|"[^"]*"|true|false|null')
"""Values and names in JSON."""
VALUES = tuple(
    value.encode()
    for value in (
        *(
            "0",
            "-1",
            "1.5",
            "1e400",
            "-1e-400",
            "9223372036854775807",
            "9223372036854775808",
            "1" * 400,
            "null",
            "true",
        ),
        *("[]", "{}", '""', '"a"', '"NaN"', '"\\u0000"', "NaN", "[[]]", "[null]", '{"a":{"a":[]}}', '["a",1,null]'),
        *("[1,2,3,4]", "[[1,2,3,4]]", "[" * 600 + "]" * 600, '"' + "x" * 3000 + '"', '"random"', "0.5", "100", "2"),
        *('"FP16"', '"UINT64"', '"INT8"', '"BOOL"', '"BYTES"', '"samples"', '"seed"', '"input"', '"inputs"', '"shape"'),
    )
)

Change = Callable[[bytearray, int, random.Random], None]


def _flip(content: bytearray, place: int, rng: random.Random) -> None:
    if content:
        content[place] ^= 1 << rng.randrange(8)


def _replace(content: bytearray, place: int, rng: random.Random) -> None:
    if content:
        content[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _delete(content: bytearray, place: int, rng: random.Random) -> None:
    del content[place : place + rng.choice((1, 2, 4, 16, 64))]


def _insert(content: bytearray, place: int, rng: random.Random) -> None:
    content[place:place] = rng.randbytes(rng.choice((1, 2, 4, 16)))


def _insert_token(content: bytearray, place: int, rng: random.Random) -> None:
    content[place:place] = rng.choice(TOKENS)


def _repeat(content: bytearray, place: int, rng: random.Random) -> None:
    piece = content[place : place + rng.choice((1, 8, 64, 512))]
    content[place:place] = piece * rng.choice((1, 2, 10))


def _cut(content: bytearray, place: int, rng: random.Random) -> None:
    del content[place:]


def _exchange(content: bytearray, place: int, rng: random.Random) -> None:
    """Replace a value or name of JSON, so that it stays JSON."""
    if found := SCALAR.search(content, place):
        content[slice(*found.span())] = rng.choice(VALUES)


CHANGES: tuple[Change, ...] = (
    *(_flip, _replace, _delete, _insert, _insert_token, _insert_token, _repeat, _cut),
    *[_exchange] * 8,
)


def mutate(content: bytes, rng: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """Return the content with one to four changes, sometimes with the end of another."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        rng.choice(CHANGES)(changed, rng.randrange(len(changed)) if changed else 0, rng)
    if others and rng.random() < 0.1:
        other = rng.choice(others)
        changed[rng.randrange(len(changed) + 1) :] = other[rng.randrange(len(other) + 1) :]
    return bytes(changed)
