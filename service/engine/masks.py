"""Draw dropout masks from a seed; the masks of pass t depend on (seed, site, t, p) alone.

A unit of a site is dropped in pass t when u < p, where u = 0.b₁b₂b₃… is a uniform number written in
binary. Its digits come from a counter-based generator (Philox 4x64; Salmon et al. 2011), keyed by
(seed, site) and addressed by (digit, pass, unit). It has no state, so any pass can be drawn without the earlier ones.
Consequences:

- 32 passes are the first 32 of 100; chunks of passes, other rows of the batch and the process change nothing;
- only the digits of p are drawn: for p = 1/2 that is one bit a unit, 64 units a word;
- with the same seed a higher p drops the same units and more, so that answers change smoothly with p.

p is rounded to 24 binary digits, the resolution of float32.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from service.model.manifest import DropoutSite

Float32 = NDArray[np.float32]

MAX_SEED = 2**64 - 1
DIGITS = 24
WORDS_PER_BLOCK = 4
UNITS_PER_BLOCK = 64 * WORDS_PER_BLOCK
PASSES_PER_BLOCK = 128
DETERMINISTIC = -1
"""The deterministic pass, before the first: it keeps all units, unscaled, like the network without dropout."""
BLOCK_BYTES = 2**22
"""The size of a cached block; blocks of large masks have fewer passes."""

BlockKey = tuple[int, int, float, tuple[int, ...], int]
"""Seed, site, p, shape of a mask, first pass of the block."""


def keep_scale(p: float) -> np.float32:
    """Return the factor of a kept unit, 1/(1-p), which keeps the expected activation."""
    return np.float32(1.0 / (1.0 - p))


def draw_masks(seed: int, site: int, p: float, shape: Sequence[int], start: int, stop: int) -> Float32:
    """Return the masks of passes start … stop-1 at one site: (stop-start, 1, *shape), each value 0 or 1/(1-p)."""
    units = math.prod(shape)
    dropped = _dropped_bits(seed, site, p, units, start, stop)  # (passes, words)
    octets = np.take(_octet_table(p), dropped.view(np.uint8))  # (passes, bytes) of eight float32 each
    values = octets.view(np.float32).reshape(stop - start, 8 * octets.shape[1])  # (passes, units and padding)
    return np.ascontiguousarray(values[:, :units]).reshape(stop - start, 1, *shape)


def _dropped_bits(seed: int, site: int, p: float, units: int, start: int, stop: int) -> NDArray[np.uint64]:
    """Return one bit a unit, set where u < p, little-endian: (passes, words).

    u and p are compared digit by digit, from the last digit of p up: at a 1 of p, u is below p if its digit is 0 or
    if its later digits are below those of p; at a 0 of p, if its digit is 0 and its later digits are below.
    """
    blocks = -(-units // UNITS_PER_BLOCK)
    shape = (stop - start, blocks * WORDS_PER_BLOCK)
    below = np.zeros(shape, dtype="<u8")
    threshold = min(round(p * 2**DIGITS), 2**DIGITS - 1)
    trailing_zeros = (threshold & -threshold).bit_length() - 1 if threshold else DIGITS
    for place in range(trailing_zeros, DIGITS):
        zeros = ~_digit(seed, site, DIGITS - 1 - place, start * blocks, shape)
        below = (zeros | below) if threshold >> place & 1 else (zeros & below)
    return below


def _digit(seed: int, site: int, digit: int, block: int, shape: tuple[int, int]) -> NDArray[np.uint64]:
    """Return one binary digit of the uniform numbers of all units, from `block` on."""
    key = np.array([seed, site], dtype=np.uint64)
    counter = np.array([block, 0, digit, 0], dtype=np.uint64)
    words = np.random.Philox(key=key, counter=counter).random_raw(shape[0] * shape[1])
    return words.astype("<u8", copy=False).reshape(shape)


@lru_cache(maxsize=64)
def _octet_table(p: float) -> NDArray[np.void]:
    """Return for each byte of drop bits its eight mask values as one item, so that one lookup gives eight values."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    values = np.where(bits == 1, np.float32(0), keep_scale(p)).astype(np.float32)
    return values.view(np.dtype((np.void, 32))).reshape(256)


def passes_per_block(sites: Sequence[DropoutSite]) -> int:
    """Return the number of passes of a cached block: a power of two, by the sites' largest mask."""
    largest = 4 * max([math.prod(site.shape) for site in sites])
    fitting = max(1, BLOCK_BYTES // largest)
    return min(PASSES_PER_BLOCK, 1 << (fitting.bit_length() - 1))


class MaskCache:
    """A cache of masks in blocks of passes, which drops the least recently used ones; threads may share it."""

    def __init__(self, max_bytes: int) -> None:
        """Keep at most `max_bytes` of masks; 0 caches nothing."""
        self.max_bytes = max_bytes
        self._size = 0
        self._blocks: OrderedDict[BlockKey, Float32] = OrderedDict()
        self._lock = Lock()

    def masks(self, seed: int, sites: Sequence[DropoutSite], start: int, stop: int) -> list[Float32]:
        """Return for each site its masks of passes start … stop-1: (stop-start, 1, *shape), read-only views.

        DETERMINISTIC is in the first block. Raises ValueError for passes of several blocks (see `passes_per_block`).
        """
        length = passes_per_block(sites)
        begin = max(start, 0) // length * length
        first, last = start - begin, stop - begin
        if last > length:
            raise ValueError(f"passes {start} to {stop - 1} lie in more than one block of {length}")
        return [self._passes((seed, i, site.p, site.shape, begin), first, last) for i, site in enumerate(sites)]

    def _passes(self, key: BlockKey, first: int, last: int) -> Float32:
        """Return passes of a block, and cache them if all earlier passes of the block are cached.

        The first block is cached with DETERMINISTIC, a mask of ones, before it.
        """
        ones = 1 if key[-1] == 0 else 0
        with self._lock:
            kept = self._blocks.get(key)
            if kept is not None and len(kept) >= ones + last:
                self._blocks.move_to_end(key)
                return kept[ones + first : ones + last]
        seed, site, p, shape, begin = key
        if kept is None:
            kept = np.ones((ones, 1, *shape), dtype=np.float32)
        known = len(kept) - ones
        if first > known:
            return draw_masks(seed, site, p, shape, begin + first, begin + last)
        grown = np.concatenate([kept, draw_masks(seed, site, p, shape, begin + known, begin + last)])
        grown.flags.writeable = False
        self._keep(key, grown)
        return grown[ones + first : ones + last]

    def _keep(self, key: BlockKey, masks: Float32) -> None:
        with self._lock:
            before = self._blocks.pop(key, None)
            self._size -= 0 if before is None else before.nbytes
            if masks.nbytes > self.max_bytes:
                return
            self._blocks[key] = masks
            self._size += masks.nbytes
            while self._size > self.max_bytes:
                _, oldest = self._blocks.popitem(last=False)
                self._size -= oldest.nbytes
