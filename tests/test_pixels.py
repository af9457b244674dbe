"""Pixels of every mode: deep ones scaled to 8 bits, transparent ones on white, all others as Pillow converts them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelnoise.data.decode import read_file, read_image

SHAPE = (16, 16)
GREY = np.arange(256, dtype=np.uint8).reshape(SHAPE)  # every grey value
HIGHEST = 2**32 - 1


def pixels(path: Path, colour: bool = True) -> np.ndarray:
    read = read_image(path, 16, colour)
    assert not isinstance(read, str), read
    return read


# How a microscope, a scanner or a script writes the same grey picture: the values in the file, and the file's ending.
DEEP = {
    "16 bits, PNG": (GREY.astype("<u2") * 257, "png"),
    "16 bits, TIFF": (GREY.astype("<u2") * 257, "tif"),
    "16 bits, TIFF, other byte order": (GREY.astype(">u2") * 257, "tiff"),
    "16 bits, PGM, which Pillow reads as 32": (GREY.astype("<u2") * 257, "pgm"),
    "16 bits, JPEG 2000": (GREY.astype("<u2") * 257, "jp2"),
    "32 bits, of which 8 are used": (GREY.astype(np.int32), "tif"),
    "32 bits, of which 16 are used": (GREY.astype(np.int32) * 257, "tif"),
    "floats from 0 to 1": (GREY.astype(np.float32) / 255, "tif"),
    "floats from 0 to 255": (GREY.astype(np.float32), "tif"),
    "floats from 0 to 65,535": (GREY.astype(np.float32) * 257, "tif"),
    "floats up to 2^32": (GREY.astype(np.float32) * (HIGHEST / 255), "tif"),
}


@pytest.mark.parametrize("case", DEEP)
def test_deep_pixels_become_the_8_bit_picture(case: str, tmp_path: Path) -> None:
    values, ending = DEEP[case]
    Image.fromarray(values).save(tmp_path / f"x.{ending}")
    for colour in (True, False):
        difference = pixels(tmp_path / f"x.{ending}", colour).astype(int) - GREY[..., None]
        assert np.abs(difference).max() <= 1


def test_every_byte_order_of_16_bits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Which of these modes a file opens as depends on Pillow's version."""
    for mode in ("I;16", "I;16L", "I;16B", "I;16N"):
        made = Image.new(mode, SHAPE, 128 * 257)
        monkeypatch.setattr(Image, "open", lambda _, made=made: made)
        assert (pixels(tmp_path / "x.png") == 128).all(), mode


def test_a_dark_16_bit_picture_stays_dark(tmp_path: Path) -> None:
    for ending in ("png", "pgm", "tif"):
        Image.fromarray((GREY // 4).astype(np.uint16) * 257).save(tmp_path / f"x.{ending}")
        assert np.abs(pixels(tmp_path / f"x.{ending}", False)[..., 0].astype(int) - GREY // 4).max() <= 1
        Image.fromarray((GREY // 4).astype(np.uint16)).save(tmp_path / f"y.{ending}")
        assert pixels(tmp_path / f"y.{ending}").max() == 0, "255 of 65,535 is black"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (GREY.astype(np.float32) - 1, "has values from -1 to 254, must be from 0 to"),
        (np.where(GREY, GREY, np.nan).astype(np.float32), "has values that are not finite"),
        (GREY.astype(np.float32) * 1e30, "must be from 0 to 4.29497e+09"),
        (-GREY.astype(np.int32), "has values from -255 to 0"),
    ],
)
def test_values_without_a_grey_are_a_reason(values: np.ndarray, said: str, tmp_path: Path) -> None:
    Image.fromarray(values).save(tmp_path / "x.tif")
    assert said in str(read_image(tmp_path / "x.tif", 16, True))


def drawing(mode: str) -> Image.Image:
    """A black square, transparent around it."""
    alpha = np.zeros(SHAPE, np.uint8)
    alpha[4:12, 4:12] = 255
    return Image.merge("LA", [Image.new("L", SHAPE), Image.fromarray(alpha)]).convert(mode)


def keyed(mode: str) -> tuple[Image.Image, int | tuple[int, ...]]:
    """A black square on another colour, and this colour, which stands for transparent."""
    around = {"RGB": (200, 10, 10), "L": 200, "1": 255, "P": 1, "I;16": 51400}[mode]
    made = Image.new(mode, SHAPE, around)
    if mode == "P":
        made.putpalette([0, 0, 0, 200, 10, 10])
    made.paste(Image.new(mode, (8, 8), 0), (4, 4))
    return made, 1 if mode == "1" else around


@pytest.mark.parametrize("kind", ["RGBA", "LA", "PA", "RGB", "L", "1", "P", "I;16", "GIF", "WEBP"])
@pytest.mark.parametrize("colour", [True, False])
def test_a_drawing_is_on_white(kind: str, colour: bool, tmp_path: Path) -> None:
    file = tmp_path / f"x.{kind.lower() if kind in ('GIF', 'WEBP') else 'png'}"
    if kind == "WEBP":
        drawing("RGBA").save(file, lossless=True, exact=True)
    elif kind == "GIF":
        made, around = keyed("P")
        made.save(file, transparency=around)
    elif kind == "PA":
        drawing("RGBA").quantize(4, Image.Quantize.FASTOCTREE).save(file)  # a palette with alpha
    elif kind in ("RGBA", "LA"):
        drawing(kind).save(file)
    else:
        made, around = keyed(kind)
        made.save(file, transparency=around)
    expected = np.full(SHAPE, 255)
    expected[4:12, 4:12] = 0
    assert (pixels(file, colour) == expected[..., None]).all()


def test_half_transparent_is_half_white(tmp_path: Path) -> None:
    Image.new("RGBA", SHAPE, (255, 0, 0, 51)).save(tmp_path / "x.png")
    assert pixels(tmp_path / "x.png")[0, 0].tolist() == [255, 204, 204]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr"])
def test_opaque_8_bit_pixels_are_as_pillow_converts_them(mode: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    made = Image.fromarray(random).convert(mode)
    file = tmp_path / ("x.tif" if mode in ("CMYK", "YCbCr") else "x.png")
    made.save(file)
    for colour, target in ((True, "RGB"), (False, "L")):
        expected = np.asarray(Image.open(file).convert(target)).reshape(16, 16, -1)
        assert np.array_equal(pixels(file, colour), expected)


def test_the_digest_is_of_the_files_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.fromarray(GREY).save(tmp_path / f"{name}.png")
    Image.fromarray(GREY).save(tmp_path / "c.bmp")
    a, b, c = (read_file(tmp_path / name, 8, True) for name in ("a.png", "b.png", "c.bmp"))
    assert a.digest == b.digest != c.digest
    assert np.array_equal(a.image, c.image)
    (tmp_path / "folder.png").mkdir()
    assert read_file(tmp_path / "folder.png", 8, True).image == "is a folder"
    assert read_file(tmp_path / "none.png", 8, True).image == "no such file"
