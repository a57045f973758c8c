"""PNG and JPEG as Pillow and others write them: values as stored, or refused by name."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from foreign import IMAGE, numbers, same
from neuropil.errors import NeuropilError, Note
from neuropil.volumes import open_volume

EXIF = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}


def png(path, array, depth, kind=0):
    """A PNG of any depth, by its specification: Pillow writes 2 and 4 bits of palettes only."""
    bits = np.unpackbits(array.astype(">u2").view(np.uint8).reshape(*array.shape, 2), axis=-1)[..., 16 - depth :]
    rows = np.packbits(bits.reshape(len(array), -1), axis=1)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    head = struct.pack(">IIBBBBB", *array.shape[:2][::-1], depth, kind, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", packed), (b"IEND", b"")]
    told = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(told))
    return path


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_gray_values_of_any_depth_are_those_stored(tmp_path, depth):
    array = numbers((20, 30), "u2") & (2**depth - 1)
    png(tmp_path / "a.png", array, depth)
    same(tmp_path / "a.png", array[np.newaxis])


def test_colours_that_pillow_would_cut_to_8_bits_are_refused(tmp_path):
    png(tmp_path / "a.png", numbers((20, 30, 3), "u2"), 16, kind=2)
    for colour in ("", "image", "segmentation"):
        with pytest.raises(NeuropilError, match=r"colours of 8 bits, got 16.*a\.png"):
            open_volume(tmp_path / "a.png", colour=colour)


def test_palettes_are_refused(tmp_path):
    image = Image.fromarray(IMAGE[0], "P")
    image.putpalette(numbers(768).tolist())
    image.save(tmp_path / "a.png")
    for colour in ("", "image", "segmentation"):
        with pytest.raises(NeuropilError, match=r"a palette of colours.*a\.png"):
            open_volume(tmp_path / "a.png", colour=colour)


def test_gray_values_with_opacity_are_read_on_request(tmp_path):
    Image.fromarray(np.stack([IMAGE[0], IMAGE[1]], -1), "LA").save(tmp_path / "a.png")
    with pytest.raises(NeuropilError, match="mode LA"):
        open_volume(tmp_path / "a.png")
    for colour in ("image", "segmentation"):
        with pytest.warns(Note, match=r"transparency .*--mask"):
            assert (open_volume(tmp_path / "a.png", colour=colour).read()[0] == IMAGE[0]).all()
    Image.fromarray(IMAGE[0]).save(tmp_path / "a.png", transparency=7)
    with pytest.warns(Note, match="transparency"):
        assert (open_volume(tmp_path / "a.png").read()[0] == IMAGE[0]).all()


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("orientation", [0, 1, 3, 6])
def test_pictures_stored_turned_are_refused(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(IMAGE[0]).save(tmp_path / f"a.{suffix}", exif=exif)
    if orientation <= 1:
        assert open_volume(tmp_path / f"a.{suffix}").shape == (1, 20, 30)
        return
    with pytest.raises(NeuropilError, match=rf"orientation {orientation} .*a\.{suffix}"):
        open_volume(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("name", ["a.png", "*.png"])
def test_tiff_under_another_name_is_refused(tmp_path, name):
    """Pillow would read it without a look at its tags: at JPEG in it, or at 0 for white."""
    Image.fromarray(IMAGE[0]).save(tmp_path / "a.png", format="TIFF", compression="jpeg")
    with pytest.raises(NeuropilError, match=r"got TIFF, in .*a\.png; let its name end in \.tif"):
        open_volume(tmp_path / name)


def test_several_pictures_in_a_file_are_refused(tmp_path):
    first, *others = (Image.fromarray(section) for section in IMAGE)
    first.save(tmp_path / "a.png", save_all=True, append_images=others)
    with pytest.raises(NeuropilError, match=r"one picture, got 4.*a\.png"):
        open_volume(tmp_path / "a.png")


def test_sections_say_one_pixel_size(tmp_path):
    for z, nm in enumerate([6, 6.01, 8]):
        Image.fromarray(IMAGE[z]).save(tmp_path / f"{z}.png", dpi=(25.4e6 / nm, 25.4e6 / nm))
    with pytest.raises(NeuropilError, match=r"one pixel size, 6 × 6 nm as .*0\.png, got 8 × 8 nm in .*2\.png"):
        open_volume(tmp_path / "*.png")
    (tmp_path / "2.png").unlink()
    with pytest.warns(Note, match=r"pixels of 6 × 6 nm .* no thickness"):
        same(tmp_path / "*.png", IMAGE[:2], voxel_size=None)
    Image.fromarray(IMAGE[2]).save(tmp_path / "2.png")
    with pytest.raises(NeuropilError, match="got none"):
        open_volume(tmp_path / "*.png")


def test_text_beside_a_picture_does_not_matter(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x")
    Image.fromarray(IMAGE[0]).save(tmp_path / "a.png", pnginfo=text, dpi=(96, 96))
    same(tmp_path / "a.png", IMAGE[:1], voxel_size=None)


def test_sections_of_one_depth(tmp_path):
    png(tmp_path / "0.png", IMAGE[0].astype("u2"), 8)
    png(tmp_path / "1.png", IMAGE[1].astype("u2") & 15, 4)
    with pytest.raises(NeuropilError, match=r"PNG of 8 bits as .*0\.png, got PNG of 4 bits in .*1\.png"):
        open_volume(tmp_path / "*.png")
    Image.fromarray(IMAGE[1]).save(tmp_path / "1.png", format="JPEG")
    with pytest.raises(NeuropilError, match=r"PNG of 8 bits as .*0\.png, got JPEG in .*1\.png"):
        open_volume(tmp_path / "*.png")


def test_png_with_a_byte_too_many_ends_in_one_message_wherever_it_is(tmp_path):
    """Pillow says SyntaxError where the length of the pixels no longer leads to the next chunk."""
    Image.fromarray(np.arange(144, dtype=np.uint16).reshape(12, 12)).save(tmp_path / "a.png")
    whole, refused = (tmp_path / "a.png").read_bytes(), 0
    for at in range(30, len(whole) - 12):
        (tmp_path / "a.png").write_bytes(whole[:at] + bytes(1) + whole[at:])
        try:
            open_volume(tmp_path / "a.png").read()
        except NeuropilError:
            refused += 1
    assert refused > 20
