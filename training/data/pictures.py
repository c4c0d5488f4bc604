"""Find the pictures among files, decode them by one rule, and record the files left out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.model.manifest import ImageRule
from service.rows.images import common_mode, open_image, to_pixels, upright_size
from training.data.choices import ImageChoices

LARGEST_SIDE = 224
"""The largest side in pixels of the square for pictures of several sizes, unless a size is given."""

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True, slots=True)
class Picture:
    """The properties of a picture as its file's header states them."""

    file: Path
    format: str
    mode: str
    """One of Pillow's modes."""
    size: Size
    """Height and width of the upright picture."""
    frames: int
    """The number of frames, more than one for an animation."""


@dataclass(frozen=True, slots=True)
class Found:
    """The pictures among some files, and the remaining files."""

    pictures: tuple[Picture, ...]
    left_out: Mapping[str, int]
    """The number of files of each other kind."""
    damaged: Mapping[Path, str]
    """Files with the extension of a picture that cannot be read, and the reason."""


def find_pictures(files: Iterable[Path]) -> Found:
    """Open each file and read its header; the pixels are decoded later."""
    from PIL import Image

    pictures: list[Picture] = []
    left_out: Counter[str] = Counter()
    damaged: dict[Path, str] = {}
    known = Image.registered_extensions()
    for file in files:
        extension = file.suffix.lower()
        if file.name.startswith("."):
            left_out["hidden"] += 1
            continue
        try:
            with open_image(file) as image:
                frames = getattr(image, "n_frames", 1)
                pictures.append(Picture(file, str(image.format), image.mode, upright_size(image), frames))
        except (InvalidInput, OSError) as error:
            if extension in known:
                damaged[file] = reason(error)
            else:
                left_out[f"no pictures that Pillow reads ({extension or 'no extension'})"] += 1
    return Found(tuple(pictures), left_out, damaged)


def settle(pictures: Sequence[Picture], choices: ImageChoices) -> tuple[ImageRule, Size]:
    """Return the rule and the size: those chosen, else those of the pictures.

    Pictures of several sizes get a square, as large as the median of their shorter sides, at most 224.
    """
    from PIL import ImageColor

    sizes = {picture.size for picture in pictures}
    side = min(LARGEST_SIDE, int(np.median([min(picture.size) for picture in pictures])))
    red, green, blue = ImageColor.getrgb(choices.background)[:3]
    rule = ImageRule(
        mode=choices.mode or common_mode([picture.mode for picture in pictures]),
        resize=choices.resize,
        background=f"#{red:02x}{green:02x}{blue:02x}",
    )
    return rule, choices.size or (sizes.pop() if len(sizes) == 1 else (side, side))


def decode(found: Found, rule: ImageRule, size: Size) -> tuple[dict[Path, NDArray[np.uint8]], Found]:
    """Return the pixels of each picture, (channels, height, width), and `found` without the damaged ones."""
    pixels: dict[Path, NDArray[np.uint8]] = {}
    damaged = dict(found.damaged)
    for picture in found.pictures:
        try:
            with open_image(picture.file) as image:
                pixels[picture.file] = to_pixels(image, rule, size)
        except (InvalidInput, OSError) as error:
            damaged[picture.file] = reason(error)
    whole = tuple(picture for picture in found.pictures if picture.file in pixels)
    return pixels, Found(whole, found.left_out, damaged)


def describe(found: Found, rule: ImageRule, size: Size) -> Iterator[str]:
    """Describe the files read, the rule by which they became rows, and the files left out."""
    sizes = {picture.size for picture in found.pictures}
    smallest, largest = min(sizes, key=np.prod), max(sizes, key=np.prod)
    span = times(smallest) if len(sizes) == 1 else f"{len(sizes)} sizes, {times(smallest)} to {times(largest)},"
    formats, modes = (counted(Counter(getattr(each, of) for each in found.pictures)) for of in ("format", "mode"))
    yield f"{len(found.pictures)} pictures ({formats}) of {span} in Pillow's modes {modes}"
    how = "" if sizes == {size} else f", by resize={rule.resize}"
    yield f"each becomes {times(size)} pixels (height×width) of mode {rule.mode}{how}, upright, on {rule.background}"
    if animated := sum(picture.frames > 1 for picture in found.pictures):
        yield f"{animated} files hold several pictures, of which the first is taken"
    if found.left_out:
        yield f"left out: {counted(found.left_out)}"
    if found.damaged:
        yield f"left out, damaged: {len(found.damaged)}, such as {damage(found)}"


def damage(found: Found) -> str:
    """Describe the first damaged file and the number of further ones; there must be one."""
    first, why = next(iter(found.damaged.items()))
    more = f", and {len(found.damaged) - 1} more" if len(found.damaged) > 1 else ""
    return f"{first.parent.name}/{first.name}: {why}{more}"


def counted(counts: Mapping[str, int]) -> str:
    """Return «png 60, webp 30», the largest count first."""
    return ", ".join(f"{what} {count}" for what, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def times(size: Size) -> str:
    """Return «28×32»."""
    return "×".join(map(str, size))


def reason(error: InvalidInput | OSError) -> str:
    """Return the message of the error."""
    return error.message if isinstance(error, InvalidInput) else str(error.strerror or error)
