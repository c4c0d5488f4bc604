"""A picture → the pixels that a model takes, by the rule that its manifest states."""

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
"""Modes of 32 bits a pixel, of which nobody states what is black and what is white."""
MAX_PIXELS = 2**27
"""Of a picture, decoded or resized; 128 million."""
DAMAGED = (OSError, SyntaxError, ValueError, IndexError, EOFError)
"""What Pillow raises for damaged pictures."""
ORIENTATION, SIDEWAYS = 0x0112, range(5, 9)
"""The EXIF tag of a picture's orientation, and its values that swap height and width."""


def open_image(source: Path | BinaryIO) -> "Image":
    """Open a picture of any format that Pillow reads, by its content; its pixels are not decoded yet.

    Raises InvalidInput where it is no such picture or has more than 2^27 pixels, ModuleNotFoundError without Pillow,
    OSError where a file cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the limit below is ours; damaged metadata does not alter pixels
            image = Image.open(source)
    except UnidentifiedImageError:
        raise InvalidInput("expected a picture in a format that Pillow reads") from None
    except (*DAMAGED, Image.DecompressionBombError) as error:
        raise _damaged(error) from None
    if image.width * image.height > MAX_PIXELS:
        raise InvalidInput(f"expected at most {MAX_PIXELS} pixels, found {image.width}×{image.height}")
    return image


def upright_size(image: "Image") -> tuple[int, int]:
    """Return (height, width) of the picture as its EXIF orientation has it shown."""
    sideways = image.format != "TIFF" and image.getexif().get(ORIENTATION) in SIDEWAYS  # of TIFF Pillow turns the size
    return (image.width, image.height) if sideways else (image.height, image.width)


def to_pixels(image: "Image", rule: ImageRule, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the picture's pixels from 0 to 255, (channels, height, width); `size` is (height, width).

    Turned as its EXIF orientation says, laid over the background where it is transparent, brought to the rule's
    mode and then to the size. Of an animation it is the first picture. Raises InvalidInput for a damaged picture, one
    of 32 bits a pixel, or one too long and narrow for the size.
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
            warnings.simplefilter("ignore")  # such as those about palettes with transparency, which is kept here
            image.load()
            return ImageOps.exif_transpose(image)
    except DAMAGED as error:
        raise _damaged(error) from None


def _damaged(error: Exception) -> Exception:
    """The error of a damaged picture; a file that cannot be read is none."""
    unread = isinstance(error, OSError) and error.errno is not None
    return error if unread else InvalidInput(f"expected a picture; it is damaged: {error}")


def _flattened(image: "Image", rule: ImageRule) -> "Image":
    """Without transparency, in the rule's mode."""
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
    """Resized so that it just covers the size, what is over cut off evenly: torchvision's Resize and CenterCrop."""
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
    """Resized so that it just fits within the size, in the middle, over the background."""
    from PIL import Image, ImageColor

    height, width = size
    scale = min(height / image.height, width / image.width)
    fitting = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    whole = Image.new(image.mode, (width, height), ImageColor.getcolor(background, image.mode))
    whole.paste(_resized(image, fitting), ((width - fitting[0]) // 2, (height - fitting[1]) // 2))
    return whole


def _resized(image: "Image", size: tuple[int, int]) -> "Image":
    """Bilinear with antialiasing; `size` is Pillow's (width, height). A picture of that size stays as it is."""
    from PIL import Image

    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)


def common_mode(modes: Sequence[str]) -> Literal["L", "RGB"]:
    """Return L where all of Pillow's modes are grey ones, else RGB."""
    return "L" if set(modes) <= GREY_MODES else "RGB"
