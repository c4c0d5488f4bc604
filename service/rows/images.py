"""Convert images to a model's pixels, by the rule in its manifest."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.model.manifest import ImageRule

if TYPE_CHECKING:
    from PIL.Image import Image

GREY_MODES = frozenset({"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N"})
"""Pillow's modes without colour."""
WIDE_MODES = frozenset({"I", "F"})
"""Modes of 32 bits a pixel, which define no range from black to white."""
MAX_PIXELS = 2**27
"""The largest number of pixels of an image, decoded or resized: 128 million."""
DAMAGED = (OSError, SyntaxError, ValueError, IndexError, EOFError)
"""The exceptions of Pillow for damaged images."""
ORIENTATION, SIDEWAYS = 0x0112, range(5, 9)
"""The EXIF tag of an image's orientation, and its values that swap height and width."""


def open_image(source: Path | BinaryIO) -> "Image":
    """Open an image in any format that Pillow detects, without decoding its pixels.

    Raises InvalidInput for other content or more than 2^27 pixels, ModuleNotFoundError without Pillow, and OSError
    where a file cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is checked below; damaged metadata does not alter pixels
            image = Image.open(source)
    except UnidentifiedImageError:
        raise InvalidInput("expected an image in a format that Pillow reads") from None
    except (*DAMAGED, Image.DecompressionBombError) as error:
        raise _damaged(error) from None
    if image.width * image.height > MAX_PIXELS:
        raise InvalidInput(f"expected at most {MAX_PIXELS} pixels, found {image.width}×{image.height}")
    return image


def upright_size(image: "Image") -> tuple[int, int]:
    """Return (height, width) of an image after its EXIF orientation is applied."""
    sideways = image.format != "TIFF" and image.getexif().get(ORIENTATION) in SIDEWAYS  # Pillow swaps TIFF's itself
    return (image.width, image.height) if sideways else (image.height, image.width)


def to_pixels(image: "Image", rule: ImageRule, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return an image's pixels (channels, height, width) from 0 to 255; `size` is (height, width).

    The image is turned by its EXIF orientation, laid over the background where it is transparent, converted to the
    rule's mode and then resized. Only the first frame of an animation is used. Raises InvalidInput for a damaged
    image, one of 32 bits a pixel, or one too long and narrow for the size.
    """
    upright = _decoded(image)
    if upright.mode in WIDE_MODES:
        raise InvalidInput(
            f"expected at most 16 bits a pixel, found Pillow's mode {upright.mode}; convert it to 8 bits"
        )
    pixels = np.asarray(_at_size(_flattened(upright, rule), size, rule))
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _decoded(image: "Image") -> "Image":
    from PIL import ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as those about palettes with transparency, which is handled below
            image.load()
            return ImageOps.exif_transpose(image)
    except DAMAGED as error:
        raise _damaged(error) from None


def _damaged(error: Exception) -> Exception:
    """Return the error of a damaged image, or an OSError of reading the file itself."""
    unread = isinstance(error, OSError) and error.errno is not None
    return error if unread else InvalidInput(f"expected an image; it is damaged: {error}")


def _flattened(image: "Image", rule: ImageRule) -> "Image":
    """Return the image without transparency, in the rule's mode."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, rule.background), opaque).convert("RGB")
    plain = image if image.mode in ("L", "RGB") else image.convert("RGB")
    return plain.convert(rule.mode)


def _at_size(image: "Image", size: tuple[int, int], rule: ImageRule) -> "Image":
    match rule.resize:
        case "crop":
            return _cropped(image, size)
        case "pad":
            return _padded(image, size, rule.background)
        case "stretch":
            return _resized(image, (size[1], size[0]))


def _cropped(image: "Image", size: tuple[int, int]) -> "Image":
    """Resize to cover the size, then crop the centre, like torchvision's Resize and CenterCrop."""
    height, width = size
    if width * image.height >= height * image.width:
        covering = (width, max(height, int(width * image.height / image.width)))
    else:
        covering = (max(width, int(height * image.width / image.height)), height)
    if covering[0] * covering[1] > MAX_PIXELS:
        raise InvalidInput(f"{image.height}×{image.width} is too long and narrow to be cropped to {height}×{width}")
    left, top = round((covering[0] - width) / 2), round((covering[1] - height) / 2)
    return _resized(image, covering).crop((left, top, left + width, top + height))


def _padded(image: "Image", size: tuple[int, int], background: str) -> "Image":
    """Resize to fit within the size, centred on the background."""
    from PIL import Image, ImageColor

    height, width = size
    scale = min(height / image.height, width / image.width)
    fitting = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    whole = Image.new(image.mode, (width, height), ImageColor.getcolor(background, image.mode))
    whole.paste(_resized(image, fitting), ((width - fitting[0]) // 2, (height - fitting[1]) // 2))
    return whole


def _resized(image: "Image", size: tuple[int, int]) -> "Image":
    """Resize with antialiased bilinear interpolation, unless the size, (width, height), is already right."""
    from PIL import Image

    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)


def common_mode(modes: Sequence[str]) -> Literal["L", "RGB"]:
    """Return L where all of Pillow's modes are grey, else RGB."""
    return "L" if set(modes) <= GREY_MODES else "RGB"
