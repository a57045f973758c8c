"""OME-XML of TIFF: companions, files that it names, several images."""

import warnings

import pytest
import tifffile

from foreign import IMAGE, same
from neuropil.errors import NeuropilError, Note
from neuropil.volumes import open_volume

HEAD = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
SIZES = 'PhysicalSizeX="6" PhysicalSizeXUnit="nm" PhysicalSizeY="7" PhysicalSizeYUnit="nm" PhysicalSizeZ="0.03"'


def uuid(z):
    return f"urn:uuid:00000000-0000-0000-0000-{z:012d}"


def image(data, name="first", depth=4, sizes=SIZES):
    return (
        f'<Image ID="Image:{name}" Name="{name}"><Pixels ID="P:{name}" DimensionOrder="XYZCT" Type="uint8" SizeX="30" '
        f'SizeY="20" SizeZ="{depth}" SizeC="1" SizeT="1" {sizes}><Channel ID="C:{name}" SamplesPerPixel="1"/>'
        f"{data}</Pixels></Image>"
    )


def named(names, channel=0):
    return "".join(
        f'<TiffData IFD="0" FirstZ="{z}" FirstC="{channel if z else 0}" PlaneCount="1">'
        f'<UUID FileName="{name}">{uuid(n)}</UUID></TiffData>'
        for z, (n, name) in enumerate(names)
    )


def sections(folder, order=(0, 1, 2, 3), companion=False, **more):
    """A file for each section, whose OME-XML has them in this order."""
    data = image(named([(n, f"s_{n}.ome.tif") for n in order], **more))
    if companion:
        (folder / "a.companion.ome").write_text(f'{HEAD} UUID="{uuid(99)}">{data}</OME>')
        data = f'<BinaryOnly MetadataFile="a.companion.ome" UUID="{uuid(99)}"/>'
    for z, n in enumerate(order):
        xml = f'{HEAD} UUID="{uuid(n)}">{data}</OME>'
        tifffile.imwrite(folder / f"s_{n}.ome.tif", IMAGE[z], description=xml, metadata=None)


@pytest.mark.parametrize("name", ["s_0.ome.tif", "s_2.ome.tif", "*.ome.tif"])
@pytest.mark.parametrize("companion", [False, True])
def test_a_file_for_each_section(tmp_path, name, companion):
    sections(tmp_path, companion=companion)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # tifffile warns of closed files
        same(tmp_path / name, IMAGE, voxel_size=(30, 7, 6))


def test_a_companion_that_is_missing(tmp_path):
    sections(tmp_path, companion=True)
    (tmp_path / "a.companion.ome").unlink()
    for name in ("s_0.ome.tif", "*.ome.tif"):
        with pytest.raises(NeuropilError, match=r"companion .*a\.companion\.ome, which does not exist"):
            open_volume(tmp_path / name)


def test_names_of_another_order_than_the_xml(tmp_path):
    sections(tmp_path, order=(0, 2, 1, 3))
    same(tmp_path / "s_0.ome.tif", IMAGE)
    with pytest.raises(NeuropilError, match=r"order of their OME-XML, got section 2 in .*s_1.* before section 1"):
        open_volume(tmp_path / "*.ome.tif")
    sections(tmp_path, channel=1)
    with pytest.raises(NeuropilError, match="one channel and time, got channel 1"):
        open_volume(tmp_path / "*.ome.tif")


def test_files_that_were_exchanged_are_noticed(tmp_path):
    sections(tmp_path)
    (tmp_path / "s_2.ome.tif").rename(tmp_path / "x.ome.tif")
    (tmp_path / "s_3.ome.tif").rename(tmp_path / "s_2.ome.tif")
    (tmp_path / "x.ome.tif").rename(tmp_path / "s_3.ome.tif")
    with pytest.raises(NeuropilError, match=r"under the name s_2\.ome\.tif, got urn:.*003"):
        open_volume(tmp_path / "s_0.ome.tif")


def test_a_single_file_may_be_renamed(tmp_path):
    data = f'<TiffData IFD="0" PlaneCount="4"><UUID FileName="old.ome.tif">{uuid(0)}</UUID></TiffData>'
    xml = f'{HEAD} UUID="{uuid(0)}">{image(data)}</OME>'
    tifffile.imwrite(tmp_path / "new.ome.tif", IMAGE, description=xml, metadata=None, photometric="minisblack")
    same(tmp_path / "new.ome.tif", IMAGE, voxel_size=(30, 7, 6))


def test_several_images_are_refused_by_name(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for name in ("overview", "stack"):
            file.write(IMAGE[0], metadata={"axes": "YX", "Name": name})
    with pytest.raises(NeuropilError, match=r"one image, got 2 \(overview, stack\)"):
        open_volume(tmp_path / "a.ome.tif")


def test_physical_sizes(tmp_path):
    def write(sizes):
        xml = f"{HEAD}>{image('<TiffData/>', sizes=sizes)}</OME>"
        tifffile.imwrite(tmp_path / "a.ome.tif", IMAGE, description=xml, metadata=None, photometric="minisblack")
        return tmp_path / "a.ome.tif"

    frame = SIZES.replace('"0.03"', '"3" PhysicalSizeZUnit="reference frame"')
    for sizes in (frame, SIZES.replace('PhysicalSizeZ="0.03"', "")):
        with pytest.warns(Note, match="a physical size of Y, X only"):
            same(write(sizes), IMAGE, voxel_size=None)
    for wrong in ("0", "-1", "x"):
        with pytest.raises(NeuropilError, match=r"PhysicalSizeZ above 0.*a\.ome\.tif"):
            open_volume(write(SIZES.replace("0.03", wrong)))


def test_pages_and_the_xml_must_agree(tmp_path):
    def write(xml):
        tifffile.imwrite(tmp_path / "a.ome.tif", IMAGE, description=xml, metadata=None, photometric="minisblack")
        return tmp_path / "a.ome.tif"

    with pytest.raises(NeuropilError, match=r"its description \(ome\) has, 3, got 4"):
        open_volume(write(f"{HEAD}>{image('<TiffData/>', depth=3)}</OME>"))
    with pytest.raises(NeuropilError, match=r"page 4 of .*a\.ome\.tif is missing"):
        open_volume(write(f"{HEAD}>{image('<TiffData/>', depth=6)}</OME>"))
    with pytest.raises(NeuropilError, match=r"type uint16 by its OME-XML, got uint8"):
        open_volume(write(f"{HEAD}>{image('<TiffData/>').replace('uint8', 'uint16')}</OME>"))
    placed = image('<TiffData/><Plane TheZ="0" TheC="0" TheT="0" PositionX="12.5"/>')
    with pytest.warns(Note, match="the stage position"):
        same(write(f"{HEAD}>{placed}</OME>"), IMAGE)


def test_pages_in_another_order_than_sections(tmp_path):
    data = "".join(f'<TiffData IFD="{3 - z}" FirstZ="{z}" PlaneCount="1"/>' for z in range(4))
    xml = f"{HEAD}>{image(data)}</OME>"
    tifffile.imwrite(tmp_path / "a.ome.tif", IMAGE, description=xml, metadata=None, photometric="minisblack")
    same(tmp_path / "a.ome.tif", IMAGE[::-1])
