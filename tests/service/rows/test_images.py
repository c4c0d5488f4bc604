"""Pictures become pixels by the rule of the manifest."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from pydantic import ValidationError

from service.errors import InvalidInput
from service.model.manifest import ImageRule, TensorSpec
from service.rows.images import open_image, to_pixels, upright_size

GREY = ImageRule(mode="L", resize="crop", background="#ffffff")
COLOUR = ImageRule(mode="RGB", resize="crop", background="#ffffff")
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 4), dtype=np.uint8)


def reopened(image: Image.Image, kind: str = "PNG", **options: Any) -> Image.Image:
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return open_image(file)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_picture_is_turned_as_its_exif_says(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    image = reopened(Image.fromarray(PIXELS).convert("RGB"), kind, exif=exif, **options)
    shown = [PIXELS, PIXELS[:, ::-1], PIXELS[::-1, ::-1], PIXELS[::-1], PIXELS.T, PIXELS.T[:, ::-1]]
    shown += [PIXELS.T[::-1, ::-1], PIXELS.T[::-1]]
    height, width = shown[orientation - 1].shape
    assert upright_size(image) == (height, width)
    np.testing.assert_array_equal(to_pixels(image, GREY, (height, width))[0], shown[orientation - 1])


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "LA", "RGBA", "RGBX", "PA", "P", "HSV", "I;16"])
def test_grey_is_the_same_grey_in_any_mode(mode: str) -> None:
    image = Image.fromarray(PIXELS)
    wide = Image.fromarray(PIXELS.astype(np.uint16) * 257)
    pixels = to_pixels(wide if mode == "I;16" else image.convert(mode), GREY, PIXELS.shape)
    np.testing.assert_array_equal(pixels[0], PIXELS)
    np.testing.assert_array_equal(
        to_pixels(wide if mode == "I;16" else image.convert(mode), COLOUR, PIXELS.shape), np.stack([PIXELS] * 3)
    )


def test_black_and_white_become_0_and_255() -> None:
    bits = PIXELS > 100
    np.testing.assert_array_equal(to_pixels(Image.fromarray(bits), GREY, bits.shape)[0], bits * np.uint8(255))


@pytest.mark.parametrize("background", ["#ffffff", "#0a6400"])
def test_what_is_transparent_shows_the_background(background: str) -> None:
    rule = ImageRule(mode="RGB", resize="crop", background=background)
    image = Image.new("RGBA", (2, 1), (200, 100, 50, 255))
    image.putpixel((1, 0), (1, 2, 3, 0))  # whatever colour is hidden there
    of_palette = Image.new("P", (2, 1), 0)
    of_palette.putpalette([200, 100, 50, 1, 2, 3])
    of_palette.putpixel((1, 0), 1)
    behind = [int(background[i : i + 2], 16) for i in (1, 3, 5)]
    for each in (image, reopened(of_palette, transparency=1)):
        np.testing.assert_array_equal(to_pixels(each, rule, (1, 2))[:, 0].T, [[200, 100, 50], behind])


def test_crop_is_resizing_to_cover_and_then_cutting_evenly() -> None:
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (31, 47, 3), dtype=np.uint8))
    by_hand = np.asarray(image.resize((18, 12), Image.Resampling.BILINEAR).crop((3, 0, 15, 12)))
    np.testing.assert_array_equal(to_pixels(image, COLOUR, (12, 12)), by_hand.transpose(2, 0, 1))


def test_pad_keeps_the_whole_picture_in_the_middle() -> None:
    rule = ImageRule(mode="L", resize="pad", background="#808080")
    black = Image.new("L", (40, 20))
    pixels = to_pixels(black, rule, (16, 16))[0]
    assert (pixels[:4] == 128).all()
    assert (pixels[4:12] == 0).all()
    assert (pixels[12:] == 128).all()
    np.testing.assert_array_equal(pixels, ImageOps.pad(black, (16, 16), color=128))


def test_stretch_uses_the_whole_picture_and_the_whole_size() -> None:
    halves = np.zeros((8, 16), dtype=np.uint8)
    halves[:, 8:] = 200
    rule = ImageRule(mode="L", resize="stretch", background="#ffffff")
    pixels = to_pixels(Image.fromarray(halves), rule, (6, 4))[0]
    assert (pixels[:, 0] == 0).all()
    assert (pixels[:, 3] == 200).all()


def cut_off() -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(np.tile(PIXELS, (50, 50))).save(file, "PNG")
    return io.BytesIO(file.getvalue()[: len(file.getvalue()) // 2])


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (Image.fromarray(PIXELS.astype(np.float32)), "at most 16 bits a pixel, found Pillow's mode F"),
        (Image.fromarray(PIXELS.astype(np.int32)), "at most 16 bits a pixel, found Pillow's mode I"),
        (Image.new("L", (20_000, 1)), r"1×20000 is too long and narrow to be cropped to 4096×1"),
    ],
)
def test_pictures_that_no_rule_is_for(picture: Image.Image, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        to_pixels(picture, GREY, (4096, 1) if picture.width > 4096 else (4, 4))


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_what_is_no_picture(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="expected an image"):
        open_image(io.BytesIO(content))


def test_a_picture_that_is_cut_off_is_damaged() -> None:
    with pytest.raises(InvalidInput, match="expected an image; it is damaged"):
        to_pixels(open_image(cut_off()), GREY, (4, 4))


@pytest.mark.parametrize("shape", [(3, 8, 8), (8, 8), (64,)])
def test_a_rule_goes_with_the_shape_of_its_mode(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match=r"image of mode L needs a shape \(1, height, width\)"):
        TensorSpec(name="input", dtype="float32", shape=shape, image=GREY)
