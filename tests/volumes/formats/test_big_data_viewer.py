"""BigDataViewer: the size of voxels that the XML beside HDF5 or N5 says, where it is that of the file."""

import h5py
import numpy as np
import pytest

from foreign import IMAGE, same, write_n5
from neuropil.errors import Note

XML = (
    '<SpimData><SequenceDescription><ImageLoader><{tag} type="relative">{name}</{tag}></ImageLoader>'
    "<ViewSetups><ViewSetup><id>0</id><size>{size}</size><voxelSize><unit>um</unit><size>0.004 0.005 0.04</size>"
    "</voxelSize></ViewSetup></ViewSetups></SequenceDescription></SpimData>"
)


def write(folder, name="a.h5", size="30 20 4"):
    with h5py.File(folder / "a.h5", "w") as file:
        file["t00000/s00/0/cells"] = IMAGE.astype("i2")
        file["t00000/s00/1/cells"] = IMAGE[:, ::2, ::2].astype("i2")
        file["s00/resolutions"] = np.array([[1, 1, 1], [2, 2, 1]], float)
    (folder / "a.xml").write_text(XML.format(tag="hdf5", name=name, size=size))
    return folder / "a.h5/t00000/s00"


def test_size_and_place_of_each_level(tmp_path):
    path = write(tmp_path)
    same(path / "0/cells", IMAGE, voxel_size=(40, 5, 4))
    found = same(path / "1/cells", IMAGE[:, ::2, ::2], voxel_size=(40, 10, 8))
    assert found.position == pytest.approx((0, 2.5, 2))


@pytest.mark.parametrize(("how", "told"), [({"size": "30 30 30"}, "does not have"), ({"name": "b.h5"}, "XML file")])
def test_the_xml_of_another_file_is_not_used(tmp_path, how, told):
    with pytest.warns(Note, match=told):
        same(write(tmp_path, **how) / "0/cells", IMAGE, voxel_size=None)


@pytest.mark.parametrize(("level", "factors"), [("s0", [1, 1, 1]), ("s1", [2, 2, 1])])
def test_n5_beside_its_xml(tmp_path, level, factors):
    voxels = IMAGE[:, :: factors[1], :: factors[0]]
    path = tmp_path / "a.n5/setup0/timepoint0" / level
    write_n5(path, voxels, {"downsamplingFactors": factors}, {"resolution": [0.1, 0.1, 0.1]})
    (tmp_path / "a.xml").write_text(XML.format(tag="n5", name="a.n5", size="30 20 4"))
    found = same(path, voxels, voxel_size=(40, 5 * factors[1], 4 * factors[0]))
    assert found.position == pytest.approx((0, 2.5 * (factors[1] - 1), 2 * (factors[0] - 1)))
