"""Links of the file system in stores of many files: followed inside the store, refused outside of it."""

import gzip
import shutil

import pytest
import zarr

from foreign import IMAGE, same, write_n5
from neuropil.errors import NeuropilError
from neuropil.volumes import Metadata, create_volume, open_volume
from neuropil.volumes.formats import presence


def write(folder, form):
    """A store of several chunks, and the folder of its array."""
    if form == "n5":
        write_n5(folder / "a.n5/raw", IMAGE, {})
        return folder / "a.n5/raw"
    if "precomputed" in form:
        metadata, sharded = Metadata(voxel_size=(30, 6, 6)), form == "sharded precomputed"
        with create_volume(f"precomputed://{folder}/p", IMAGE.shape, "u1", metadata, sharded=sharded) as volume:
            volume.write(volume.box, IMAGE)
        return folder / "p"
    array = zarr.create_array(
        folder / "a.zarr/raw", shape=IMAGE.shape, chunks=(2, 10, 10), dtype="u1", zarr_format=int(form[-1]),
        shards=(4, 10, 10) if form == "sharded 3" else None,
    )  # fmt: skip
    array[:] = IMAGE
    return folder / "a.zarr/raw"


def move_behind_link(target, beyond):
    beyond.parent.mkdir(exist_ok=True, parents=True)
    shutil.move(target, beyond)
    target.symlink_to(beyond)


FORMS = ["zarr 2", "zarr 3", "sharded 3", "n5", "precomputed", "sharded precomputed"]


@pytest.mark.parametrize("most", [100_000, 1])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("what", ["chunk", "folder", "description", "array"])
def test_links_out_of_a_store_are_refused(tmp_path, monkeypatch, form, what, most):
    array = write(tmp_path, form)
    files = sorted(file for file in array.rglob("*") if file.is_file())
    descriptions = ("zarr.json", ".zarray", "attributes.json", "info")
    chunk = next(file for file in files if file.name not in (*descriptions, ".zattrs"))
    target = {
        "chunk": chunk,
        "folder": chunk.parent if chunk.parent != array else chunk,
        "description": next(file for file in files if file.name in descriptions),
        "array": array if "precomputed" not in form else chunk.parent,
    }[what]
    move_behind_link(target, tmp_path / "far" / target.name)
    monkeypatch.setattr(presence, "COUNTED", most)
    path = f"precomputed://{array}" if "precomputed" in form else array
    with pytest.raises(NeuropilError, match=r"leads to .*far.*--allow-outside"):
        open_volume(path).read()
    monkeypatch.setenv("NEUROPIL_ALLOW_OUTSIDE", "1")
    same(path, IMAGE)


@pytest.mark.parametrize("form", ["zarr 2", "zarr 3", "n5"])
def test_links_within_a_store_are_followed(tmp_path, form):
    array = write(tmp_path, form)
    chunk = next(file for file in sorted(array.rglob("*0")) if file.is_file())
    move_behind_link(chunk, array.parent / "else/chunk")
    (array / "loop").symlink_to(array)
    (array / "nowhere").symlink_to(array / "gone")
    same(array, IMAGE)
    store = tmp_path / f"store{array.parent.suffix}"  # which may be reached by a link itself
    store.symlink_to(array.parent)
    same(store / "raw", IMAGE)


def test_links_out_of_a_precomputed_volume_of_packed_chunks(tmp_path):
    write(tmp_path, "precomputed")
    chunk = next((tmp_path / "p/6_6_30").iterdir())
    (tmp_path / "far.gz").write_bytes(gzip.compress(chunk.read_bytes()))
    chunk.unlink()
    chunk.with_name(f"{chunk.name}.gz").symlink_to(tmp_path / "far.gz")
    with pytest.raises(NeuropilError, match="--allow-outside"):
        open_volume(f"precomputed://{tmp_path}/p").read()
