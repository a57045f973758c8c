"""What `neuropil convert` writes is opened by tools that share no code with us: a reader of OME-Zarr, Neuroglancer."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from typer.testing import CliRunner

import browser
from neuropil import synthetic
from neuropil.cli import app
from neuropil.geometry import NEAREST
from neuropil.volumes import Metadata, write_volume

PLACED = Metadata((30, 6, 6), (60, 10, 20))
AT = (63, 80, 110)


class Handler(SimpleHTTPRequestHandler):
    """Files for pages from elsewhere, in silence."""

    def end_headers(self):
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path):
    """A folder and its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield tmp_path, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("kind", ["image", "ids", "affinities"])
def test_a_reader_of_ome_zarr_takes_what_was_converted(tmp_path, kind):
    """ome-zarr-io holds metadata against the JSON schemas of OME-NGFF 0.5; zarr-python reads the voxels."""
    ome_zarr_io = pytest.importorskip("ome_zarr_io")
    zarr = pytest.importorskip("zarr")
    image, labels = synthetic.neuropil((8, 40, 50), seed=4)
    arrays = {"image": image, "ids": labels + np.uint64(2**40), "affinities": synthetic.affinities(labels, seed=4)}
    channels = {"offsets": NEAREST} if kind == "affinities" else {}
    write_volume(tmp_path / "a.h5", arrays[kind], Metadata((30, 6, 6), (60, 10, 20), **channels))
    target = str(tmp_path / "a.ome.zarr")
    done = CliRunner().invoke(app, ["convert", str(tmp_path / "a.h5"), target])
    assert done.exit_code == 0, done.stderr
    reader = ome_zarr_io.Reader(target)
    assert reader.validate()
    assert reader.dims == list("czyx")[-arrays[kind].ndim :]
    assert reader.n_levels == 1
    assert reader.get_voxel_size() == {"z": 30, "y": 6, "x": 6}
    assert {size.unit for size in reader.get_physical_size().values()} == {"nanometer"}
    group = zarr.open_group(target, mode="r")
    (image,) = group.attrs["ome"]["multiscales"]
    assert image["datasets"][0]["coordinateTransformations"][1] == {
        "type": "translation",
        "translation": [*([0] * (kind == "affinities")), 60 * 30, 10 * 6, 20 * 6],
    }
    read = group[image["datasets"][0]["path"]]
    assert read.dtype == arrays[kind].dtype
    assert (read[...] == arrays[kind]).all()


def test_a_schema_refuses_what_is_not_ome_zarr(tmp_path):
    """The judge of the test above can say no."""
    ome_zarr_io = pytest.importorskip("ome_zarr_io")
    write_volume(tmp_path / "a.ome.zarr", np.zeros((2, 3, 4), np.uint8))
    meta = tmp_path / "a.ome.zarr" / "zarr.json"
    meta.write_text(meta.read_text().replace('"axes"', '"axis"'))
    with pytest.raises(Exception, match="axes"):
        ome_zarr_io.Reader(str(tmp_path / "a.ome.zarr")).validate()


@browser.needs_browser
@pytest.mark.parametrize(("kind", "form", "middle"), [("zarr", "ome.zarr", 0.0), ("precomputed", "precomputed", 0.5)])
def test_neuroglancer_shows_what_was_converted(served, kind, form, middle):
    """Every pixel of a section of the image, and ids beyond 32 bits, at the place and size that the metadata say.

    OME-Zarr counts from the middle of a voxel, precomputed from its corner.
    """
    neuroglancer = pytest.importorskip("neuroglancer", reason="the extra `view` is not installed")
    folder, address = served
    image, labels = synthetic.neuropil((8, 140, 180), seed=4)
    ids = np.where(labels > 0, labels + np.uint64(2**40), 0).astype(np.uint64)
    for name, array in (("image", image), ("ids", ids)):
        write_volume(folder / f"{name}.h5", array, PLACED)
        done = CliRunner().invoke(app, ["convert", str(folder / f"{name}.h5"), str(folder / f"{name}.{form}")])
        assert done.exit_code == 0, done.stderr
    viewer, driver = neuroglancer.Viewer(), browser.start()
    try:
        with viewer.txn() as state:
            state.dimensions = neuroglancer.CoordinateSpace(names=["x", "y", "z"], units="nm", scales=[6, 6, 30])
            state.layers["image"] = neuroglancer.ImageLayer(source=f"{kind}://{address}/image.{form}")
            state.layers["ids"] = neuroglancer.SegmentationLayer(source=f"{kind}://{address}/ids.{form}")
            state.position = [n + middle for n in AT[::-1]]
            state.cross_section_scale = 1
        driver.get(viewer.get_viewer_url())
        image, ids = image[AT[0] - 60], ids[AT[0] - 60]

        def seen(shot):
            return browser.panel_around(driver, shot, (AT[1] - 10, AT[2] - 20), image.shape)

        def complete(shot):
            return browser.colour_by(ids, seen(shot)) > 0.99 and browser.shows_background(seen(shot), image, ids)

        assert (ids == 0).any()
        shown = seen(browser.wait_for(driver, complete))
        assert browser.colour_by(ids, shown) > 0.99
        assert browser.shows_background(shown, image, ids)
    finally:
        driver.quit()
        neuroglancer.stop()
