"""Usual rows → strange ones, which a network should doubt: noise, and images that lie on their side.

Made of the rows themselves, so that every value is one that the network takes: a category stays a category, a
number of a pixel stays in its range.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from service.engine.steps import Inputs
from service.model.runtime import Array

MIN_SIDE = 4
"""Of what may be an image."""
SIDEWAYS = 90.0
"""Degrees."""


def strange_inputs(inputs: Inputs, seed: int) -> dict[str, Inputs]:
    """Strange rows by kind, as many as the usual ones: `noise`, and of square images `rotated` ones.

    With several inputs the images among them are rotated, and nothing else is.
    """
    rng = np.random.default_rng(seed)
    made: dict[str, Inputs] = {"noise": {name: noise(values, rng) for name, values in inputs.items()}}
    if any(is_square_image(values) for values in inputs.values()):
        made["rotated"] = {
            name: rotate(values, SIDEWAYS) if is_square_image(values) else values for name, values in inputs.items()
        }
    return made


def noise(values: Array, rng: np.random.Generator) -> Array:
    """(rows, …) of the same type, without any structure.

    Of images, (rows, channels, height, width), each pixel is uniform between the lowest and highest value; else each
    value is drawn from those of its own column, so that none is impossible, but together they make no sense.
    """
    if values.ndim == 4 and values.dtype.kind == "f":
        return rng.uniform(values.min(), values.max(), values.shape).astype(values.dtype)
    columns = values.reshape(len(values), -1)  # (rows, columns)
    drawn = rng.integers(len(columns), size=columns.shape)
    return np.take_along_axis(columns, drawn, axis=0).reshape(values.shape)


def is_square_image(values: Array) -> bool:
    """Whether the rows are (channels, side, side) numbers with a fraction."""
    return values.ndim == 4 and values.shape[-1] == values.shape[-2] >= MIN_SIDE and values.dtype.kind == "f"


def rotate(images: Array, degrees: float) -> NDArray[np.floating]:
    """Images (…, side, side) turned anticlockwise about their middle, of the same type.

    Quarter turns are exact; at other angles pixels are interpolated linearly. Corners get the lowest value.
    """
    if degrees % 90 == 0:
        return np.ascontiguousarray(np.rot90(images, int(degrees // 90), axes=(-2, -1)))
    turned = ndimage.rotate(
        images, degrees, axes=(-1, -2), reshape=False, order=1, mode="constant", cval=float(images.min())
    )
    return np.asarray(turned, dtype=images.dtype)
