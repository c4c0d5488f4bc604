"""Ways to draw what passes drop, one site at a time: (passes, *shape), true where a unit is dropped.

A unit is dropped where a uniform number u < p.

independent  u of every pass of its own
antithetic   pass 2k+1 has 1-u where pass 2k has u; at p = 1/2 it keeps exactly what the other drops
stratified   of T passes each unit is dropped in exactly T·p, which ones at random
blocks       the same of every ten passes, so that the masks of a pass do not depend on T
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from service.model.manifest import DropoutSite

Scheme = Callable[[np.random.Generator, DropoutSite, int], NDArray[np.bool_]]

BLOCK = 10


def independent(rng: np.random.Generator, site: DropoutSite, passes: int) -> NDArray[np.bool_]:
    return rng.random((passes, *site.shape)) < site.p


def antithetic(rng: np.random.Generator, site: DropoutSite, passes: int) -> NDArray[np.bool_]:
    u = rng.random((passes // 2, 1, *site.shape))
    return np.concatenate([u, 1 - u], axis=1).reshape(passes, *site.shape) < site.p


def stratified(rng: np.random.Generator, site: DropoutSite, passes: int) -> NDArray[np.bool_]:
    return _strata(rng, site, passes, passes)


def blocks(rng: np.random.Generator, site: DropoutSite, passes: int) -> NDArray[np.bool_]:
    return _strata(rng, site, passes, BLOCK)


def _strata(rng: np.random.Generator, site: DropoutSite, passes: int, block: int) -> NDArray[np.bool_]:
    """In each block of passes, u lies once in each of as many equal parts of 0 … 1, in random order."""
    part = rng.random((passes // block, block, *site.shape)).argsort(axis=1)
    u = (part + rng.random(part.shape)) / block
    return u.reshape(passes, *site.shape) < site.p


SCHEMES: tuple[Scheme, ...] = (independent, antithetic, stratified, blocks)
