"""Pages of TIFF whose values are not what they seem: honoured, or refused by name."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from foreign import IMAGE, numbers, same
from neuropil.errors import NeuropilError, Note
from neuropil.volumes import open_volume
from neuropil.volumes.roles import require_labels

BOTH = pytest.mark.parametrize("name", ["a.tif", "*.tif"])
"""As a file, and as a stack of one section."""


@BOTH
@pytest.mark.parametrize("orientation", [2, 4, 6])
def test_pages_stored_turned_are_refused(tmp_path, name, orientation):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE[0], extratags=[("Orientation", "H", 1, orientation, True)])
    with pytest.raises(NeuropilError, match=rf"orientation {orientation} .*a\.tif"):
        open_volume(tmp_path / name)


@BOTH
def test_palettes_are_refused(tmp_path, name):
    colours = numbers((3, 256), "u2") * 250
    tifffile.imwrite(tmp_path / "a.tif", IMAGE[0], photometric="palette", colormap=colours)
    for colour in ("", "image", "segmentation"):
        with pytest.raises(NeuropilError, match=r"a palette of colours.*a\.tif"):
            open_volume(tmp_path / name, colour=colour)


def test_a_palette_of_grays_and_one_of_imagej_change_no_value(tmp_path):
    ramp = np.tile(np.arange(256, dtype="u2") * 257, (3, 1))
    tifffile.imwrite(tmp_path / "a.tif", IMAGE[0], photometric="palette", colormap=ramp)
    same(tmp_path / "a.tif", IMAGE[:1])
    described = "ImageJ=1.54f\nimages=1\n"
    tifffile.imwrite(
        tmp_path / "b.tif",
        IMAGE[0],
        photometric="palette",
        colormap=ramp[:, ::-1],
        description=described,
        metadata=None,
    )
    with pytest.warns(Note, match="a table of ImageJ"):
        same(tmp_path / "b.tif", IMAGE[:1])


@pytest.mark.parametrize(
    ("compression", "how"),
    [
        ("jpeg2000", {"level": 30, "reversible": False}),
        ("jpegxl", {"level": 70}),
        ("lerc", {"level": 5}),
        ("jpegxr", {}),
    ],
)
def test_packings_like_jpeg_are_no_place_for_ids(tmp_path, compression, how):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE[0], compression=compression, compressionargs=how)
    volume = open_volume(tmp_path / "a.tif")
    assert volume.read().shape == (1, *IMAGE.shape[1:])
    with pytest.raises(NeuropilError, match="without lossy compression, got JPEG or another"):
        require_labels(volume)


@pytest.mark.parametrize(("role", "value", "changed"), [("scale", 0.5, True), ("offset", 9, True), ("scale", 1, False)])
def test_values_that_gdal_would_scale_are_refused(tmp_path, role, value, changed):
    said = f'<GDALMetadata><Item name="SCALE" sample="0" role="{role}">{value}</Item></GDALMetadata>'
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, photometric="minisblack", extratags=[(42112, "s", 0, said, True)])
    if not changed:
        same(tmp_path / "a.tif", IMAGE)
        return
    with pytest.raises(NeuropilError, match=f"the {role} {value} of GDAL"):
        open_volume(tmp_path / "a.tif")


def test_webp_is_no_place_for_colours_that_are_ids(tmp_path):
    colours = np.repeat(IMAGE[..., None], 3, -1)
    tifffile.imwrite(tmp_path / "a.tif", colours, compression="webp", compressionargs={"level": 50}, photometric="rgb")
    with pytest.raises(NeuropilError, match="without lossy compression, got JPEG or another"):
        open_volume(tmp_path / "a.tif", colour="segmentation")


@BOTH
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_white_as_0_is_turned_around_for_images_on_request(tmp_path, name, dtype, compression):
    array = numbers((1, 20, 30), dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="miniswhite", compression=compression)
    for colour in ("", "segmentation"):
        with pytest.raises(NeuropilError, match=r"0 for white, in .*a\.tif; `neuropil convert --type image`"):
            open_volume(tmp_path / name, colour=colour)
    assert (open_volume(tmp_path / name, colour="image").read() == np.iinfo(dtype).max - array).all()


def test_white_as_0_of_one_bit_as_pillow_has_it(tmp_path):
    Image.fromarray(IMAGE[0] > 100).save(tmp_path / "a.tif", tiffinfo={262: 0})
    with Image.open(tmp_path / "a.tif") as image:
        expected = np.asarray(image)
    assert (open_volume(tmp_path / "a.tif", colour="image").read()[0] == expected).all()


@BOTH
@pytest.mark.parametrize("colour", ["", "image", "segmentation"])
def test_a_bool_mask_by_tifffile_is_as_it_was_written(tmp_path, name, colour):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE[:1] > 100)
    with pytest.warns(Note, match=r"a\.tif says that 0 is white.*1 is read as True"):
        assert (open_volume(tmp_path / name, colour=colour).read() == (IMAGE[:1] > 100)).all()


@BOTH
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiles_that_are_absent_are_counted(tmp_path, name, compression):
    array = numbers((32, 48))
    array[16:, 32:] = 0

    def tiles():
        for y in range(0, 32, 16):
            for x in range(0, 48, 16):
                yield array[y : y + 16, x : x + 16] if (y, x) != (16, 32) else None

    tifffile.imwrite(tmp_path / "a.tif", tiles(), shape=(32, 48), dtype="u1", tile=(16, 16), compression=compression)
    with pytest.warns(Note, match="1 tiles or strips .* missing; they are read as 0"):
        same(tmp_path / name, array[np.newaxis])


@BOTH
def test_a_page_that_is_absent_is_not_read_from_elsewhere(tmp_path, name):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE[0])
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages.first.tags["StripByteCounts"].overwrite(0)
        file.pages.first.tags["StripOffsets"].overwrite(0)
    with pytest.warns(Note, match="missing"):
        assert not open_volume(tmp_path / name).read().any()


def test_resolutions_of_a_microscope_are_told_those_of_a_screen_are_not(tmp_path, recwarn):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, photometric="minisblack", resolution=(72, 72), resolutionunit="INCH")
    open_volume(tmp_path / "a.tif")
    assert not [one for one in recwarn if one.category is Note]
    tifffile.imwrite(
        tmp_path / "a.tif", IMAGE, photometric="minisblack", resolution=(1e7 / 6, 1e7 / 8), resolutionunit="CENTIMETER"
    )
    with pytest.warns(Note, match=r"pixels of 8 × 6 nm \(y, x\), but no thickness"):
        same(tmp_path / "a.tif", IMAGE, voxel_size=None)


def test_sections_say_one_voxel_size_and_one_origin(tmp_path):
    for z, size in enumerate([30, 30, 40]):
        tifffile.imwrite(tmp_path / f"{z}.tif", IMAGE[z], metadata={"voxel_size": [size, 6, 6]})
    with pytest.raises(NeuropilError, match=r"one pixel size, 30 × 6 × 6 nm .*got 40 × 6 × 6 nm in .*2\.tif"):
        open_volume(tmp_path / "*.tif")
    for z in range(3):
        tifffile.imwrite(tmp_path / f"{z}.tif", IMAGE[z], resolution=(1e6 + z * 1e5,) * 2, resolutionunit="CENTIMETER")
    with pytest.raises(NeuropilError, match=r"one pixel size, 10 × 10 nm .*1\.tif"):
        open_volume(tmp_path / "*.tif")
    for z in range(3):
        metadata = {"voxel_size": [30, 6, 6], "origin": [z, 0, 0]}
        tifffile.imwrite(tmp_path / f"{z}.tif", IMAGE[z], metadata=metadata)
    with pytest.raises(NeuropilError, match=r"one origin.*1\.tif"):
        open_volume(tmp_path / "*.tif")


def test_a_stack_says_once_what_all_its_sections_say(tmp_path):
    for z in range(3):
        tifffile.imwrite(tmp_path / f"{z}.tif", IMAGE[z], imagej=True, metadata={"unit": "nm"}, resolution=(0.2, 0.2))
    for _ in range(2):  # the second time from memory
        with pytest.warns(Note, match="no spacing of sections") as told:
            same(tmp_path / "*.tif", IMAGE[:3])
        assert len([one for one in told if "spacing" in str(one.message)]) == 1


@pytest.mark.parametrize(
    ("description", "told"),
    [
        ("ImageJ=1.54f\nimages=2\nslices=2\n", r"its description \(imagej\) has, 2, got 4"),
        ("ImageJ=1.54f\nimages=9\nslices=9\n", "expected 9 sections, as ImageJ's description has them, got 4"),
    ],
)
def test_pages_and_their_description_must_agree(tmp_path, description, told):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, description=description, metadata=None, photometric="minisblack")
    with pytest.raises(NeuropilError, match=rf"{told}.*a\.tif"):
        open_volume(tmp_path / "a.tif")


def test_a_calibration_of_imagej_is_told(tmp_path):
    cut = "ImageJ=1.54f\nimages=4\nslices=4\ncf=0\nc0=-32768.0\nc1=1.0\n"
    array = IMAGE.astype("u2")
    tifffile.imwrite(tmp_path / "a.tif", array, description=cut, metadata=None, photometric="minisblack")
    with pytest.warns(Note, match="calibration of its values is not applied"):
        same(tmp_path / "a.tif", array)


@pytest.mark.parametrize("kind", [4, 8, 32803])
def test_other_kinds_of_values_are_refused(tmp_path, kind):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE[0])
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages.first.tags["PhotometricInterpretation"].overwrite(kind)
    with pytest.raises(NeuropilError, match=r"values of the kind (MASK|CIELAB|CFA), in .*a\.tif"):
        open_volume(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        (34682, "[User]\r\nUser=x\r\n[Scan]\r\nPixelWidth=6e-009\r\nPixelHeight=7e-009\r\n"),  # FEI
        (34118, "0\r\nAP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 6.500 nm\r\n"),  # Zeiss
    ],
)
def test_pixels_of_microscopes_are_told(tmp_path, tag, text):
    for z in range(2):
        tifffile.imwrite(tmp_path / f"{z}.tif", IMAGE[z], extratags=[(tag, 2, None, text, True)], metadata=None)
    for name in ("0.tif", "*.tif"):
        with pytest.warns(Note, match=r"pixels of (7 × 6|6.5 × 6.5) nm \(y, x\), but no thickness"):
            assert open_volume(tmp_path / name).metadata.voxel_size is None


@pytest.mark.parametrize(("code", "kind", "value"), [(33550, "d", (4.0, 4.0, 0.0)), (42113, "s", "0")])
def test_what_gdal_says_of_pixels_is_told(tmp_path, code, kind, value):
    tag = (code, kind, 0 if kind == "s" else len(value), value, True)
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, photometric="minisblack", extratags=[tag])
    with pytest.warns(Note, match=r"a\.tif has the .* of GDAL, .* not used"):
        same(tmp_path / "a.tif", IMAGE)


@pytest.mark.parametrize("key", ["PhysicalSizeX", "spacing", "transform"])
def test_sizes_in_the_description_of_tifffile_that_are_not_used_are_told(tmp_path, key):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, photometric="minisblack", metadata={"axes": "ZYX", key: [30, 7, 6]})
    with pytest.warns(Note, match=f"its attribute {key} is .* not used"):
        same(tmp_path / "a.tif", IMAGE, voxel_size=None)


def test_words_of_imagej_in_the_description_of_tifffile(tmp_path):
    metadata = {"axes": "ZYX", "spacing": 0.03, "unit": "um"}
    tifffile.imwrite(
        tmp_path / "a.tif", IMAGE, photometric="minisblack", metadata=metadata, resolution=(1 / 0.006, 1 / 0.007)
    )
    found = same(tmp_path / "a.tif", IMAGE)
    assert found.voxel_size == pytest.approx((30, 7, 6), rel=1e-4)


@pytest.mark.parametrize("name", ["a.tif", "*.tif", "a.jpg", "*.jpg"])
def test_jpeg_is_no_place_for_ids(tmp_path, name):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE[0], compression="jpeg")
    Image.fromarray(IMAGE[0]).save(tmp_path / "a.jpg")
    volume = open_volume(tmp_path / name)
    with pytest.raises(
        NeuropilError, match=r"without lossy compression, got JPEG or another .*, in .*; save them as PNG"
    ):
        require_labels(volume)
    with pytest.raises(NeuropilError, match=r"without lossy compression, got JPEG or another"):
        open_volume(tmp_path / name, colour="segmentation")


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(
    ("second", "told"),
    [
        ({"photometric": "miniswhite"}, "PhotometricInterpretation 1 and 0"),
        ({"subfiletype": 1}, "a reduced copy or a mask"),
        ({"resolution": (2e6, 2e6), "resolutionunit": "CENTIMETER"}, "resolution"),
        ({"extratags": [("Orientation", "H", 1, 3, True)]}, "orientation 3"),
    ],
)
def test_pages_are_alike(tmp_path, second, told, compression):
    plain = {"resolution": (1e6, 1e6), "resolutionunit": "CENTIMETER"} if "resolution" in second else {}
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for section, more in [(0, plain), (1, second)]:
            options = {"photometric": "minisblack", **more}
            file.write(IMAGE[section], metadata=None, compression=compression, **options)
    with pytest.raises(NeuropilError, match=rf"{told}.*a\.tif"):
        open_volume(tmp_path / "a.tif")


def test_pages_lie_in_the_order_of_their_numbers(tmp_path):
    def write(numbers):
        with tifffile.TiffWriter(tmp_path / "a.tif") as file:
            for section, number in zip(IMAGE, numbers, strict=False):
                file.write(section, metadata=None, extratags=[("PageNumber", "H", 2, (number, 3), True)])
        return tmp_path / "a.tif"

    same(write([0, 1, 2]), IMAGE[:3])
    same(write([0, 0, 0]), IMAGE[:3])
    with pytest.raises(NeuropilError, match=r"order of their numbers, got \[2, 0, 1\], in .*a\.tif"):
        open_volume(write([2, 0, 1]))


def test_undefined_and_double_values_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE[0].astype("f4"))
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages.first.tags["SampleFormat"].overwrite(4)
    with pytest.raises(NeuropilError, match="an undefined kind"):
        open_volume(tmp_path / "a.tif")
    both = np.stack([IMAGE[0], IMAGE[1]], -1)
    tifffile.imwrite(tmp_path / "a.tif", both, photometric="minisblack", metadata=None, extrasamples=["assocalpha"])
    for colour in ("", "image"):
        with pytest.raises(NeuropilError, match=r"one value in each pixel, got axes YXS"):
            open_volume(tmp_path / "a.tif", colour=colour)


def test_a_spacing_of_imagej_without_a_unit_is_told(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, imagej=True, metadata={"axes": "ZYX", "spacing": 30.0})
    with pytest.warns(Note, match="a spacing of 30.0 but no unit"):
        same(tmp_path / "a.tif", IMAGE, voxel_size=None)
