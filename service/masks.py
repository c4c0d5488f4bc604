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

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from service.manifest import DropoutSite

Float32 = NDArray[np.float32]

MAX_SEED = 2**64 - 1
DIGITS = 24
WORDS_PER_BLOCK = 4
UNITS_PER_BLOCK = 64 * WORDS_PER_BLOCK
PASSES_PER_BLOCK = 128

BlockKey = tuple[int, int, float, tuple[int, ...], int]
"""Seed, site, p, shape of a mask, number of the block."""


def keep_scale(p: float) -> np.float32:
    """What a kept unit is multiplied by, so that the expected activation stays the same: 1/(1-p)."""
    return np.float32(1.0 / (1.0 - p))


def draw_masks(seed: int, site: int, p: float, shape: Sequence[int], start: int, stop: int) -> Float32:
    """The masks of passes start … stop-1 at one site: (stop-start, 1, *shape), each 0 or 1/(1-p)."""
    units = int(np.prod(shape, dtype=np.int64))
    dropped = _dropped_bits(seed, site, p, units, start, stop)  # (passes, words)
    octets = np.take(_octet_table(p), dropped.view(np.uint8))  # (passes, bytes) of eight float32 each
    values = octets.view(np.float32).reshape(stop - start, -1)  # (passes, units and padding)
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


class MaskCache:
    """The masks of seeds in use, kept so that they cost nothing a second time; the longest unused go first.

    Kept in blocks of PASSES_PER_BLOCK passes, at most `max_bytes` of them. Threads may share it.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._size = 0
        self._blocks: OrderedDict[BlockKey, Float32] = OrderedDict()
        self._lock = Lock()

    def masks(self, seed: int, sites: Sequence[DropoutSite], start: int, stop: int) -> list[Float32]:
        """For each site its masks of passes start … stop-1: (stop-start, 1, *shape), read-only views.

        The passes must lie in one block, so that a view will do.
        """
        block, first = divmod(start, PASSES_PER_BLOCK)
        last = first + stop - start
        if last > PASSES_PER_BLOCK:
            raise ValueError(f"passes {start} to {stop - 1} lie in more than one block of {PASSES_PER_BLOCK}")
        return [self._block((seed, i, site.p, site.shape, block), last)[first:last] for i, site in enumerate(sites)]

    def _block(self, key: BlockKey, passes: int) -> Float32:
        """At least the first `passes` passes of a block."""
        with self._lock:
            kept = self._blocks.get(key)
            if kept is not None and len(kept) >= passes:
                self._blocks.move_to_end(key)
                return kept
        seed, site, p, shape, block = key
        start = block * PASSES_PER_BLOCK
        drawn = draw_masks(seed, site, p, shape, start, start + passes)
        drawn.flags.writeable = False
        self._keep(key, drawn)
        return drawn

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
