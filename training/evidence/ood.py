"""Make OOD rows from test rows, to which a network should give high uncertainty: noise, and rotated images.

They keep to values that the network accepts: a category stays a category, a pixel stays in its range.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from service.engine.inputs import Inputs
from service.model.runtime import Array

MIN_SIDE = 4
"""The smallest side in pixels of an image."""
SIDEWAYS = 90.0
"""Degrees of the rotation."""


def ood_inputs(inputs: Inputs, seed: int) -> dict[str, Inputs]:
    """Return OOD rows by kind, as many as the test rows: `noise`, and for square images `rotated`.

    Of several inputs only the images are rotated.
    """
    rng = np.random.default_rng(seed)
    made: dict[str, Inputs] = {"noise": {name: noise(values, rng) for name, values in inputs.items()}}
    if any(is_square_image(values) for values in inputs.values()):
        made["rotated"] = {
            name: rotate(values, SIDEWAYS) if is_square_image(values) else values for name, values in inputs.items()
        }
    return made


def noise(values: Array, rng: np.random.Generator) -> Array:
    """Return rows (rows, …) of the same type without structure.

    In images, (rows, channels, height, width), each pixel is uniform between the lowest and highest value; otherwise
    each value is drawn from its own column, so that every value is possible and only their combination is not.
    """
    if values.ndim == 4 and values.dtype.kind == "f":
        return rng.uniform(values.min(), values.max(), values.shape).astype(values.dtype)
    columns = values.reshape(len(values), -1)  # (rows, columns)
    drawn = rng.integers(len(columns), size=columns.shape)
    return np.take_along_axis(columns, drawn, axis=0).reshape(values.shape)


def is_square_image(values: Array) -> bool:
    """Return whether the rows are floating point images (channels, side, side)."""
    return values.ndim == 4 and values.shape[-1] == values.shape[-2] >= MIN_SIDE and values.dtype.kind == "f"


def rotate(images: Array, degrees: float) -> NDArray[np.floating]:
    """Return images (…, side, side) rotated anticlockwise about their centre, of the same type.

    Quarter turns are exact; at other angles pixels are interpolated linearly, and corners get the lowest value.
    """
    if degrees % 90 == 0:
        return np.ascontiguousarray(np.rot90(images, int(degrees // 90), axes=(-2, -1)))
    turned = ndimage.rotate(
        images, degrees, axes=(-1, -2), reshape=False, order=1, mode="constant", cval=float(images.min())
    )
    return np.asarray(turned, dtype=images.dtype)
