"""Choose the dropout sites that stay on in samples: by name, by glob, or the last ones."""

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from training.errors import ConfigError

LAST = re.compile(r"last:([1-9][0-9]*)")
"""The pattern of the last sites in order of execution."""
AUTO = re.compile(r"auto:(0?\.[0-9]+|1|1\.0+)")
"""The pattern that chooses the fewest last sites by the share of errors' detection that they keep."""


def select(names: Sequence[str], patterns: Sequence[str]) -> tuple[int, ...]:
    """Return the numbers of the sites that some pattern selects, in order of execution; all of them without patterns.

    A pattern is a site's name, a glob such as `encoder.*`, or `last:N`. Raises ConfigError, listing the names, for a
    pattern that selects nothing.
    """
    if not patterns:
        return tuple(range(len(names)))
    given = [patterns] if isinstance(patterns, str) else patterns
    return tuple(sorted({number for pattern in given for number in _selected(names, pattern)}))


def _selected(names: Sequence[str], pattern: str) -> Sequence[int]:
    found = list(_matches(names, pattern))
    if not found:
        raise ConfigError(f"sample_sites: {pattern!r} selects no dropout site; there are: {', '.join(names)}")
    return found


def _matches(names: Sequence[str], pattern: str) -> Iterator[int]:
    """Yield the sites of exactly this name, else those that it counts or matches."""
    if pattern in names:
        yield names.index(pattern)
    elif last := LAST.fullmatch(pattern):
        yield from range(len(names))[-int(last[1]) :]
    else:
        yield from (number for number, name in enumerate(names) if fnmatchcase(name, pattern))


def auto_share(sample_sites: Sequence[str]) -> float | None:
    """Return the share of `auto:SHARE`, None for other patterns; raise ConfigError for a share that is none."""
    patterns = [sample_sites] if isinstance(sample_sites, str) else list(sample_sites)
    if not any(pattern.startswith("auto:") for pattern in patterns):
        return None
    found = AUTO.fullmatch(patterns[0])
    if len(patterns) > 1 or not found or not float(found[1]):
        raise ConfigError(
            f"sample_sites: expected auto:SHARE alone, a share above 0 and at most 1; found {', '.join(patterns)}"
        )
    return float(found[1])
