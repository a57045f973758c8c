"""Volumes in a bucket, by blocks: read and written by all workers, each chunk once and whole."""

import os
import subprocess
import sys

import numpy as np
import pytest

import neuropil
from neuropil.blockwise import segment_blocks
from neuropil.blockwise.relabel import chunks_for
from neuropil.config import SegmentConfig
from neuropil.geometry import Box, blocks
from neuropil.volumes import open_volume, write_volume
from reference.bucket import running_bucket
from reference.partitions import partition

BLOCK = (3, 8, 10)


@pytest.fixture
def array():
    return (np.random.default_rng(0).integers(0, 9, (3, 5, 20, 24)) * 28).astype(np.uint8)


@pytest.fixture
def expected(array):
    fragments = neuropil.watershed(array)
    return neuropil.agglomerate(array, fragments).segment(fragments, 0.5)


def python(folder, environment, *arguments):
    """A new process, for which ``gs://`` is the bucket of this machine."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


COPY = """
import sys
from neuropil.volumes import open_volume, write_volume
for source, target in zip(sys.argv[1::2], sys.argv[2::2]):
    volume = open_volume(source)
    write_volume(target, volume.read(), volume.metadata)
"""


def assert_written_once(bucket, start):
    """All chunks, each by one request, and none is read to be completed."""
    chunks = [(method, name) for method, name in bucket.log if name.startswith(start) and name[-1].isdigit()]
    written = [name for method, name in chunks if method == "POST"]
    assert len(written) == len(set(written)) == 2 * 3 * 3
    there = set()
    for method, name in chunks[: 1 + max(i for i, (method, _) in enumerate(chunks) if method == "POST")]:
        # At the ends of the volume TensorStore looks whether there is something.
        assert not (method == "GET" and name in there), name
        there |= {name} if method == "POST" else set()


@pytest.mark.slow
def test_the_command_line_works_in_a_bucket(tmp_path, array, expected):
    """Affinities and labels from a bucket, the segmentation into it, on two workers; then scores and thresholds."""
    write_volume(tmp_path / "a.zarr", array)
    write_volume(tmp_path / "t.zarr", expected.astype(np.uint16))
    with running_bucket() as bucket:
        put = ("-c", COPY, "a.zarr", "gs://lab/a.zarr", "t.zarr", "gs://lab/t.n5")
        python(tmp_path, bucket.environment(), *put)
        blocks = ("--block", ",".join(map(str, BLOCK)))
        program = ("-m", "neuropil")
        segment = ("segment", "gs://lab/a.zarr", "-o", "gs://lab/s.zarr", "--threshold", "0.5", *blocks)
        python(tmp_path, bucket.environment(), *program, *segment, "--workers", "2")
        assert_written_once(bucket, "lab/s.zarr/c/")
        told = python(tmp_path, bucket.environment(), *program, "evaluate", "gs://lab/s.zarr", "gs://lab/t.n5", *blocks)
        assert "adapted Rand error  0.0000" in told
        told = python(tmp_path, bucket.environment(), *program, "tune", "gs://lab/a.zarr", "gs://lab/t.n5", *blocks)
        assert "lowest adapted Rand error  0.0000" in told
        python(tmp_path, bucket.environment(), "-c", COPY, "gs://lab/s.zarr", "s.zarr")
    found = open_volume(tmp_path / "s.zarr").read()
    np.testing.assert_array_equal(partition(found), partition(expected))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "s.zarr", "t.zarr"]


STOPPED = """
import sys
from neuropil.blockwise import segment_blocks
from neuropil.config import SegmentConfig
from neuropil.volumes import open_volume, write_volume
class Stop(BaseException): pass
def progress(step, done, total):
    if step == "relabelling" and done == 5: raise Stop
write_volume("gs://lab/a.zarr", open_volume("a.zarr").read())
affinities, config = open_volume("gs://lab/a.zarr"), SegmentConfig(threshold=0.5)
for output in sys.argv[1:]:
    for stop in (progress, None):
        try: segment_blocks(affinities, output, config, block=(3, 8, 10), progress=stop)
        except Stop: pass
for i, output in enumerate(sys.argv[1:]):
    write_volume(f"{i}.h5", open_volume(output).read())
"""


def test_a_run_into_a_bucket_goes_on_where_it_stopped(tmp_path, array, expected):
    """Zarr, precomputed and N5; blocks that were written before the stop are not written again."""
    write_volume(tmp_path / "a.zarr", array)
    outputs = {"gs://lab/s.zarr": "lab/s.zarr/c/", "precomputed://gs://lab/p": "lab/p/", "gs://lab/s.n5": "lab/s.n5/"}
    with running_bucket() as bucket:
        python(tmp_path, bucket.environment(), "-c", STOPPED, *outputs)
        for start in outputs.values():
            assert_written_once(bucket, start)
    for i in range(len(outputs)):
        np.testing.assert_array_equal(partition(open_volume(tmp_path / f"{i}.h5").read()), partition(expected))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.h5", "1.h5", "2.h5", "a.zarr"]


EDITED = """
import numpy as np
from neuropil.blockwise import segment_blocks
from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.segmentation import segment_volume
from neuropil.segmentation.edits import EditLog, log_header
from neuropil.volumes import open_volume, write_volume
class Stop(BaseException): pass
def progress(step, done, total):
    if step == "writing" and done == 5: raise Stop
affinities, config = open_volume("a.zarr"), SegmentConfig(threshold=0.5)
log = EditLog.begin("log", log_header(affinities, config))
segment_volume(affinities, "s.h5", config)
segments = open_volume("s.h5").read()
places = [[tuple(map(int, p)) for p in np.argwhere(segments == n)[[0, -1]]] for n in np.unique(segments)[[-1, 1, 2]]]
def segment(stop=None):
    segment_blocks(affinities, "gs://lab/e.zarr", config, edits=log, block=(3, 8, 10), progress=stop)
log.append("join", places[0][0], places[1][0])
try: segment(progress)
except Stop: segment()
segment_volume(affinities, "whole.h5", config, log)
write_volume("parts.h5", open_volume("gs://lab/e.zarr").read())
log.append("join", places[1][1], places[2][1])
try: segment()
except NeuropilError as error: print(error)
"""


def test_decisions_into_a_bucket(tmp_path, array):
    """Stopped while blocks are written; what is there is not replaced by other decisions."""
    write_volume(tmp_path / "a.zarr", array)
    with running_bucket() as bucket:
        said = python(tmp_path, bucket.environment(), "-c", EDITED)
        assert_written_once(bucket, "lab/e.zarr/c/")
    assert "gs://lab/e.zarr exists; delete it or choose another name" in said
    whole, parts = (open_volume(tmp_path / name).read() for name in ("whole.h5", "parts.h5"))
    np.testing.assert_array_equal(partition(parts), partition(whole))
    assert not np.array_equal(whole, open_volume(tmp_path / "s.h5").read())
    assert not list(tmp_path.glob("*.blocks"))


MADE_ANEW = """
import tensorstore as ts
from neuropil.blockwise import segment_blocks
from neuropil.config import SegmentConfig
from neuropil.volumes import open_volume, write_volume
class Stop(BaseException): pass
def stop(step, done, total):
    if step == "faces": raise Stop
def segment(progress=None):
    config = SegmentConfig(threshold=0.5)
    segment_blocks(open_volume("gs://lab/a.zarr"), "s.zarr", config, block=(3, 8, 10), progress=progress)
array = open_volume("a.zarr").read()
write_volume("gs://lab/a.zarr", array[::-1].copy())
try: segment(stop)
except Stop: pass
ts.KvStore.open("gs://lab/a.zarr/").result().delete_range(ts.KvStore.KeyRange()).result()
write_volume("gs://lab/a.zarr", array)
segment()
"""


def test_affinities_that_were_made_anew_in_a_bucket_are_another_run(tmp_path, array, expected):
    """The same shape and description: only the bucket's generation says that it is another array."""
    write_volume(tmp_path / "a.zarr", array)
    with running_bucket() as bucket:
        python(tmp_path, bucket.environment(), "-c", MADE_ANEW)
    np.testing.assert_array_equal(partition(open_volume(tmp_path / "s.zarr").read()), partition(expected))
    assert len(list((tmp_path / "s.zarr.blocks").glob("*/job.json"))) == 1, "what the stopped run left, and is told"


TAKEN = """
import numpy as np
from neuropil import NeuropilError
from neuropil.volumes import write_volume
for _ in range(2):
    try: write_volume("gs://lab/a.zarr", np.zeros((1, 2, 2), np.uint8))
    except NeuropilError as error: print(error)
"""


def test_a_name_that_is_taken_is_told_once(tmp_path):
    with running_bucket() as bucket:
        told = python(tmp_path, bucket.environment(), "-c", TAKEN)
    assert told == "gs://lab/a.zarr exists; delete it or choose another name (a bucket cannot rename)\n"


@pytest.mark.parametrize("name", ["s.zarr", "s.n5", "precomputed://{}/p"])
@pytest.mark.parametrize("block", [(3, 7, 24), (5, 13, 11), (2, 20, 5)])
def test_no_chunk_is_shared_by_two_blocks(tmp_path, array, name, block):
    """Of what is written, in every format; what does not divide is at the end of the volume."""
    write_volume(tmp_path / "a.zarr", array)
    output = name.format(tmp_path) if "{}" in name else str(tmp_path / name)
    segment_blocks(open_volume(tmp_path / "a.zarr"), output, SegmentConfig(threshold=0.5), block=block)
    written = open_volume(output)
    assert written.store.chunks == chunks_for(written.shape, block)
    for box in blocks(Box.whole(written.shape), written.store.chunks):
        around = [(s // b, (e - 1) // b) for s, e, b in zip(box.start, box.stop, block, strict=True)]
        assert all(first == last for first, last in around), f"chunk {box} lies in one block"
