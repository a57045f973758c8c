import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuropil.blockwise import segment_blocks
from neuropil.blockwise.job import segment_job
from neuropil.blockwise.merging import read_faces
from neuropil.config import SegmentConfig
from neuropil.errors import Unfinished
from neuropil.geometry import Box
from neuropil.segmentation.codes import face_codes
from neuropil.volumes import Metadata, create_volume, open_volume, write_volume

SHAPE = (4, 5, 6)


def faces_of(volume_faces, box):
    """Every face of the voxels of a box: axis, lower voxel and code, whatever the sign of the offset."""
    found = {}
    for axis, channel in enumerate((volume_faces.z, volume_faces.y, volume_faces.x)):
        for voxel in np.ndindex(*(n + (d == axis) for d, n in enumerate(box.shape))):
            upper = [s + v for s, v in zip(box.start, voxel, strict=True)]
            lower = list(upper)
            lower[axis] -= 1
            if lower[axis] >= 0 and upper[axis] < channel.shape[axis]:
                stored = lower if volume_faces.flipped >> axis & 1 else upper
                found[axis, tuple(lower)] = int(channel[tuple(stored)])
    return found


@given(st.tuples(*[st.sampled_from([-1, 1])] * 3), st.data())
def test_all_faces_of_a_block_are_read(tmp_path_factory, signs, data):
    folder = tmp_path_factory.mktemp("faces")
    offsets = tuple(tuple(sign * (axis == d) for d in range(3)) for axis, sign in enumerate(signs))
    array = np.random.default_rng(0).integers(0, 255, (3, *SHAPE), np.uint8)
    write_volume(folder / "a.zarr", array, Metadata(offsets=offsets, origin=(7, 8, 9)))
    job = segment_job(open_volume(folder / "a.zarr"), SegmentConfig(threshold=0.5), (2, 2, 3), folder / "work")
    node = (0, data.draw(st.integers(0, job.tree.count(0) - 1)))
    box = job.tree.box(node)
    grown = box.grow((1, 1, 1)).intersect(Box.whole(SHAPE))
    found = faces_of(read_faces(job, box, grown), box.relative_to(grown.start))
    # Faces between the block and what ends with the array that was read are seen by the array's own limits.
    shifted = {(a, tuple(v + s for v, s in zip(at, grown.start, strict=True))): code for (a, at), code in found.items()}
    assert shifted == faces_of(face_codes(array, offsets), box)


@pytest.mark.parametrize(("sign", "other"), [(-1, "0:4,0:4,0:4"), (1, "0:4,0:4,8:12")])
def test_a_side_whose_faces_a_block_has_itself_is_not_read(tmp_path, sign, other):
    """The second of three chunks is damaged: its own block fails, and the one that needs its faces; not the third."""
    offsets = tuple(tuple(sign * (axis == d) for d in range(3)) for axis in range(3))
    array = np.full((3, 4, 4, 12), 200, np.uint8)
    path = tmp_path / "a.zarr"
    with create_volume(path, array.shape, array.dtype, Metadata(offsets=offsets), chunks=(4, 4, 4)) as volume:
        volume.write(volume.box, array)
    (chunk,) = (file for file in path.rglob("*") if file.is_file() and file.name == "1")
    chunk.write_bytes(chunk.read_bytes()[:5])
    with pytest.raises(Unfinished) as told:
        segment_blocks(open_volume(path), tmp_path / "s.zarr", SegmentConfig(threshold=0.5), block=(4, 4, 4))
    boxes = {failure.task.place for failure in told.value.failures}
    assert boxes == {"0:4,0:4,4:8", other}
