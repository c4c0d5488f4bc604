"""Seed → dropout masks. The masks of pass t depend on (seed, site, t, p) and on nothing else.

A unit of a site is dropped in pass t when u < p, where u = 0.b₁b₂b₃… is a uniform number written in
binary. Its digits come from a counter-based generator (Philox 4x64; Salmon et al. 2011), keyed by
(seed, site) and addressed by (digit, pass, unit): no state, so any pass can be made without those
before it. What follows:

- the first 32 passes of 100 are the 32 passes; how the passes are cut into chunks, which rows stand
  in the batch and which process does the work change nothing;
- only the digits that p has are drawn: for p = 1/2 that is one bit a unit, 64 units a word;
- at the same seed a higher p drops the same units and some more, so that a slider over p moves smoothly.

p is taken to 24 binary digits, which is the resolution of float32.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
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
LEAD = -1
"""The pass before the first: all units are kept, unscaled, so that it does what the network without dropout does."""
BLOCK_BYTES = 2**22
"""A block of large masks has fewer passes, so that it can grow, and be forgotten, in small pieces."""

BlockKey = tuple[int, int, float, tuple[int, ...], int]
"""Seed, site, p, shape of a mask, first pass of the block."""


def keep_scale(p: float) -> np.float32:
    """What a kept unit is multiplied by, so that the expected activation stays the same: 1/(1-p)."""
    return np.float32(1.0 / (1.0 - p))


def draw_masks(seed: int, site: int, p: float, shape: Sequence[int], start: int, stop: int) -> Float32:
    """The masks of passes start … stop-1 at one site: (stop-start, 1, *shape), each 0 or 1/(1-p)."""
    units = math.prod(shape)
    dropped = _dropped_bits(seed, site, p, units, start, stop)  # (passes, words)
    octets = np.take(_octet_table(p), dropped.view(np.uint8))  # (passes, bytes) of eight float32 each
    values = octets.view(np.float32).reshape(stop - start, 8 * octets.shape[1])  # (passes, units and padding)
    return np.ascontiguousarray(values[:, :units]).reshape(stop - start, 1, *shape)


def _dropped_bits(seed: int, site: int, p: float, units: int, start: int, stop: int) -> NDArray[np.uint64]:
    """One bit a unit, set where u < p, little-endian: (passes, words).

    Compares digit by digit, from the last digit of p up: at a 1 of p, u is below p if its digit is 0 or
    if what follows is below; at a 0 of p, if its digit is 0 and what follows is below.
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
    """The digit-th binary digit of the uniform numbers of all units, from `block` on."""
    key = np.array([seed, site], dtype=np.uint64)
    counter = np.array([block, 0, digit, 0], dtype=np.uint64)
    words = np.random.Philox(key=key, counter=counter).random_raw(shape[0] * shape[1])
    return words.astype("<u8", copy=False).reshape(shape)


def _octet_table(p: float) -> NDArray[np.void]:
    """For each byte of drop bits its eight mask values, as one item, so that one lookup makes eight."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    values = np.where(bits == 1, np.float32(0), keep_scale(p)).astype(np.float32)
    return values.view(np.dtype((np.void, 32))).reshape(256)


def passes_per_block(sites: Sequence[DropoutSite]) -> int:
    """How many passes are kept together: a power of two, by the sites' largest mask."""
    largest = max(4 * math.prod(site.shape) for site in sites)
    fitting = max(1, BLOCK_BYTES // largest)
    return min(PASSES_PER_BLOCK, 1 << (fitting.bit_length() - 1))


class MaskCache:
    """The masks of seeds in use, kept so that they cost nothing a second time; the longest unused go first.

    Kept in blocks of passes, at most `max_bytes` of them. Threads may share it.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._size = 0
        self._blocks: OrderedDict[BlockKey, Float32] = OrderedDict()
        self._lock = Lock()

    def masks(self, seed: int, sites: Sequence[DropoutSite], start: int, stop: int) -> list[Float32]:
        """For each site its masks of passes start … stop-1: (stop-start, 1, *shape), read-only views.

        The passes must lie in one block, see `passes_per_block`, so that a view will do; LEAD lies in the first.
        """
        length = passes_per_block(sites)
        begin = max(start, 0) // length * length
        first, last = start - begin, stop - begin
        if last > length:
            raise ValueError(f"passes {start} to {stop - 1} lie in more than one block of {length}")
        return [self._passes((seed, i, site.p, site.shape, begin), first, last) for i, site in enumerate(sites)]

    def _passes(self, key: BlockKey, first: int, last: int) -> Float32:
        """Passes of a block; those before them that are not kept are not made, and then these are not kept.

        The first block is kept with LEAD, a mask of ones, before it.
        """
        lead = 1 if key[-1] == 0 else 0
        with self._lock:
            kept = self._blocks.get(key)
            if kept is not None and len(kept) >= lead + last:
                self._blocks.move_to_end(key)
                return kept[lead + first : lead + last]
        seed, site, p, shape, begin = key
        if kept is None:
            kept = np.ones((lead, 1, *shape), dtype=np.float32)
        known = len(kept) - lead
        if first > known:
            return draw_masks(seed, site, p, shape, begin + first, begin + last)
        grown = np.concatenate([kept, draw_masks(seed, site, p, shape, begin + known, begin + last)])
        grown.flags.writeable = False
        self._keep(key, grown)
        return grown[lead + first : lead + last]

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
