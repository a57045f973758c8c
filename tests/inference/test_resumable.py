"""Volume to volume: whatever ends a run, the next one ends with the same numbers."""

import copy
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from forks import python
from neuropil import Box, Config, NeuropilError
from neuropil.config import PredictConfig
from neuropil.inference import canvas, journal, predict, predict_volume, resumable
from neuropil.models import build_network
from neuropil.models.checkpoint import Model, save_checkpoint
from neuropil.volumes import LOGIT8, Metadata, array_volume, atomic, open_volume, write_volume
from neuropil.volumes.formats.zarr import chunk_files

TILES = {"tile": (6, 24, 24), "overlap": (2, 6, 6), "tta": 4, "device": "cpu"}


def into(**changes):
    """The same for ``predict_volume``, with changes."""
    how = {**TILES, **changes}
    return {"device": how.pop("device"), "settings": PredictConfig(**how)}


@pytest.fixture
def small_cells(monkeypatch):
    monkeypatch.setattr(resumable, "CELL", (4, 16, 16))


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (14, 50, 60), np.uint8)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = Config.from_dict({"model": {"widths": [2, 3], "downsample": [[1, 2, 2]]}, "segment": {"threshold": 0.3}})
    network = build_network(config.model).eval()
    network.head.weight.data *= 20  # answers from 0 to 1, not all near a half
    return Model(network, config, {"voxel_size": (30, 6, 6)})


class Dies(nn.Module):
    """Stands for whatever ends a run after a number of tiles."""

    def __init__(self, network, calls):
        super().__init__()
        self.network, self.left, self.multiple = network, [calls], network.multiple

    def __deepcopy__(self, memo):  # prediction runs a copy; calls are counted together
        copied = Dies(copy.deepcopy(self.network, memo), 0)
        copied.left = self.left
        return copied

    def forward(self, image):
        self.left[0] -= 1
        if self.left[0] < 0:
            raise KeyboardInterrupt
        return self.network(image)

    def state_dict(self):
        return self.network.state_dict()


@pytest.mark.usefixtures("small_cells")
@pytest.mark.parametrize("name", ["a.zarr", "a.h5", "a.h5/volumes/affinities"])
def test_a_volume_is_predicted_as_an_array_is(tmp_path, model, image, name):
    output = tmp_path / name
    source = array_volume(image, Metadata(origin=(5, 6, 7)))
    box = Box((6, 6, 10), (19, 56, 67))
    predict_volume(model, source, output, box=box, **into())
    expected = predict(model, source, box=box, **TILES)
    with open_volume(output) as found:
        np.testing.assert_array_equal(found.read(), LOGIT8.encode(expected))
        assert found.box == box
        assert found.metadata.encoding == LOGIT8
        assert found.metadata.offsets == ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
        assert found.metadata.voxel_size == (30, 6, 6)
        assert found.metadata.extra["threshold"] == 0.3
    assert sorted(p.name for p in tmp_path.iterdir()) == [Path(name).parts[0]], "nothing unfinished may be left"


@pytest.mark.parametrize("stored", [0.0, 0.25])
def test_a_tuned_threshold_of_the_model_goes_before_that_of_its_recipe(tmp_path, model, image, stored):
    tuned = Model(model.network, model.config, {"threshold": stored})
    predict_volume(tuned, image[:3], tmp_path / "a.zarr", **into())
    assert open_volume(tmp_path / "a.zarr").metadata.extra["threshold"] == stored


@pytest.mark.usefixtures("small_cells")
def test_a_box_is_seen_with_what_lies_around_it(tmp_path, model, image):
    box = Box((4, 10, 0), (9, 40, 60))
    options = {**TILES, "surround": (2, 8, 8)}
    predict_volume(model, image, tmp_path / "a.zarr", box=box, **into(surround=(2, 8, 8)))
    found = open_volume(tmp_path / "a.zarr")
    np.testing.assert_array_equal(found.read(), LOGIT8.encode(predict(model, image, box=box, **options)))
    alone = LOGIT8.encode(predict(model, image[box.slices], **TILES))
    assert np.any(found.read() != alone)
    assert found.metadata.extra["made_by"]["seen"] == "2:11,2:48,0:60"
    assert found.box == box


@pytest.mark.parametrize("encoding", ["float16", "float32", "logit8"])
def test_small_volumes_go_to_tiff_too(tmp_path, model, image, encoding):
    predict_volume(model, image, tmp_path / "a.tif", **into(encoding=encoding))
    predict_volume(model, image, tmp_path / "a.zarr", **into(encoding=encoding))
    with open_volume(tmp_path / "a.tif") as tiff, open_volume(tmp_path / "a.zarr") as zarr:
        np.testing.assert_array_equal(tiff.read(), zarr.read())
        assert tiff.metadata.offsets == zarr.metadata.offsets
        assert tiff.metadata.encoding == zarr.metadata.encoding


@pytest.mark.parametrize("encoding", ["float16", "float32"])
def test_floats_are_stored_as_they_are(tmp_path, model, image, encoding):
    predict_volume(model, image, tmp_path / "a.zarr", **into(encoding=encoding))
    found = open_volume(tmp_path / "a.zarr")
    np.testing.assert_array_equal(found.read(), predict(model, image, **TILES).astype(encoding))
    assert found.metadata.encoding is None


@pytest.mark.usefixtures("small_cells")
@pytest.mark.parametrize("calls", [0, 9, 30, 61])
def test_a_run_that_was_interrupted_is_continued(tmp_path, model, image, calls):
    predict_volume(model, image, tmp_path / "whole.zarr", **into())
    with pytest.raises(KeyboardInterrupt):
        predict_volume(
            Model(Dies(model.network, calls), model.config, model.info), image, tmp_path / "a.zarr", **into()
        )
    assert not (tmp_path / "a.zarr").exists()
    assert (tmp_path / "a.zarr.unfinished").exists()

    counted, seen = Dies(model.network, 10**6), []
    predict_volume(
        Model(counted, model.config, model.info),
        image,
        tmp_path / "a.zarr",
        progress=lambda *said: seen.append(said),
        **into(),
    )
    np.testing.assert_array_equal(open_volume(tmp_path / "a.zarr").read(), open_volume(tmp_path / "whole.zarr").read())
    assert seen[-1][1] == seen[-1][2]
    used = 10**6 - counted.left[0]
    if calls == 61:
        assert used < 4 * 3 * 3 * 4, "cells that were done must not be predicted again"
        assert seen[0][1] > 0


@pytest.mark.usefixtures("small_cells")
def test_narrow_columns_give_the_same(tmp_path, model, image, monkeypatch):
    predict_volume(model, image, tmp_path / "one.zarr", **into())
    monkeypatch.setattr(canvas, "WAITING", 100_000)
    predict_volume(model, image, tmp_path / "many.zarr", **into())
    np.testing.assert_array_equal(open_volume(tmp_path / "many.zarr").read(), open_volume(tmp_path / "one.zarr").read())


@pytest.mark.usefixtures("small_cells")
def test_half_written_records_are_not_believed(tmp_path, model, image):
    with pytest.raises(KeyboardInterrupt):
        predict_volume(Model(Dies(model.network, 61), model.config, model.info), image, tmp_path / "a.zarr", **into())
    done = tmp_path / "a.zarr.unfinished/done.txt"
    text = done.read_text().rstrip("\n")
    done.write_text(text[: text.rindex(" ") + 1])
    # The chunk that record stands for, and all that none stands for, are as a run that died in between leaves them.
    chunks = tmp_path / "a.zarr.unfinished/affinities.zarr/c/0"
    whole = {line.replace(" ", "/") for line in text.split("\n")[:-1] if line}
    half = [file for file in chunks.glob("*/*/*") if str(file.relative_to(chunks)) not in whole]
    assert half, "the last chunk was on disk before its record"
    for file in half:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    predict_volume(model, image, tmp_path / "a.zarr", **into())
    np.testing.assert_array_equal(
        open_volume(tmp_path / "a.zarr").read(), LOGIT8.encode(predict(model, image, **TILES))
    )


@pytest.mark.usefixtures("small_cells")
@pytest.mark.parametrize("change", ["model", "image", "tta", "box", "tile", "encoding", "surround", "context"])
def test_a_request_that_differs_is_refused(tmp_path, model, image, change):
    with pytest.raises(KeyboardInterrupt):
        predict_volume(Model(Dies(model.network, 20), model.config, model.info), image, tmp_path / "a.zarr", **into())
    options = into()
    if change == "model":
        torch.manual_seed(1)
        model = Model(build_network(model.config.model).eval(), model.config, model.info)
    elif change == "image":
        image = image.copy()
        image[7, 30, 30] ^= 1
    else:
        new = {"tta": 8, "tile": (5, 24, 24), "encoding": "float32", "surround": (1, 2, 3), "context": (1, 2, 2)}
        options = {**options, "box": Box((0, 0, 0), (14, 50, 59))} if change == "box" else into(**{change: new[change]})
    with pytest.raises(NeuropilError, match=rf"another request: {change} was .* delete that folder"):
        predict_volume(model, image, tmp_path / "a.zarr", **options)


def test_an_older_output_stays_until_the_new_one_is_complete(tmp_path, model, image):
    output = tmp_path / "a.zarr"
    predict_volume(model, image[:3], output, **into())
    before = open_volume(output).read()
    with pytest.raises(KeyboardInterrupt):
        predict_volume(Model(Dies(model.network, 2), model.config, model.info), image, output, **into())
    np.testing.assert_array_equal(open_volume(output).read(), before)
    predict_volume(model, image, output, **into())
    assert open_volume(output).shape == (3, 14, 50, 60)


def test_two_runs_do_not_write_into_one_output(tmp_path, model, image):
    def second(step, done, total):
        with pytest.raises(NeuropilError, match="another process is predicting"):
            predict_volume(model, image, tmp_path / "a.zarr", **into())

    predict_volume(model, image, tmp_path / "a.zarr", progress=second, **into())


def test_a_folder_that_cannot_be_written_is_named(tmp_path, model, image):
    (tmp_path / "file").write_text("")
    with pytest.raises(NeuropilError, match="file"):
        predict_volume(model, image, tmp_path / "file/a.zarr", **into())


def test_what_an_output_cannot_be_is_told_before_any_work(tmp_path, model, image):
    never = Model(Dies(model.network, 0), model.config, model.info)
    write_volume(tmp_path / "b.zarr/raw", image)
    with pytest.raises(NeuropilError, match="name an array inside"):
        predict_volume(never, image, tmp_path / "b.zarr", **into())
    with pytest.raises(NeuropilError, match=r"unknown extension|tells a format"):
        predict_volume(never, image, tmp_path / "affinities.xyz", **into())
    assert not list(tmp_path.glob("*.unfinished"))
    predict_volume(model, image, tmp_path / "b.zarr/affinities", **into())
    np.testing.assert_array_equal(open_volume(tmp_path / "b.zarr/raw").read(), image)


SCRIPT = """
import os, signal, sys
from neuropil.config import PredictConfig
from neuropil.inference import predict_volume, resumable
resumable.CELL = (4, 16, 16)
left = int(sys.argv[4])
def watch(step, done, total):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
how = PredictConfig(tile=(6, 24, 24), overlap=(2, 6, 6), tta=1)
predict_volume(*sys.argv[1:4], how, device="cpu", progress=watch)
"""


def test_a_run_that_was_killed_ends_as_one_that_was_not(tmp_path, model, image):
    checkpoint, source = tmp_path / "last.pt", tmp_path / "image.h5"
    save_checkpoint(checkpoint, {"config": model.config.to_dict(), "weights": model.network.state_dict(), "info": {}})
    write_volume(source, image)

    def run(output, kill_after):
        return python("-c", SCRIPT, checkpoint, source, tmp_path / output, kill_after).returncode

    assert run("killed.zarr", 17) == -signal.SIGKILL
    assert not (tmp_path / "killed.zarr").exists()
    assert json.loads((tmp_path / "killed.zarr.unfinished/request.json").read_text())["asked"]["tta"] == 1
    assert run("killed.zarr", 10**6) == os.EX_OK
    predict_volume(checkpoint, source, tmp_path / "whole.zarr", **into(tta=1))
    with open_volume(tmp_path / "killed.zarr") as killed, open_volume(tmp_path / "whole.zarr") as whole:
        np.testing.assert_array_equal(killed.read(), whole.read())


ENDS = """
import os, sys
import numpy as np
from neuropil.config import PredictConfig
from neuropil.inference import predict_volume, resumable
from neuropil.volumes import open_volume
checkpoint, older, image, truth, output = sys.argv[1:]
place, how = resumable.put_into_place, PredictConfig(tile=(6, 24, 24), overlap=(2, 6, 6), tta=1)

def dying(moment):
    "From the moment when an output is complete, end at one change of the disk."
    left = moment
    def watched(change):
        def changed(*given, **named):
            nonlocal left
            left -= 1
            if left < 0:
                os._exit(9)
            return change(*given, **named)
        return changed
    def placed(*given):
        for name in ("rename", "replace", "unlink", "rmdir"):
            setattr(os, name, watched(getattr(os, name)))
        place(*given)
    resumable.put_into_place = placed

def child(image, moment=10**6, expected=None):
    "Predict, and end at a change; or compare the output with what is expected."
    pid = os.fork()
    if pid == 0:
        try:
            if expected is not None:
                with open_volume(output) as found:
                    np.testing.assert_array_equal(found.read(), expected)
                os._exit(0)
            dying(moment)
            predict_volume(checkpoint, image, output, how, device="cpu")
            os._exit(0)
        except BaseException as error:
            print(error, flush=True)
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

folder, name = os.path.split(output)
assert child(older) == 0
moment = 0
while (code := child(image, moment)) == 9:
    assert child(image) == 0, f"the run after an end at change {moment} fails"
    assert child(image, expected=np.load(truth)) == 0, f"it differs after an end at change {moment}"
    assert os.listdir(folder) == [name], (moment, os.listdir(folder))
    assert child(older) == 0
    moment += 1
assert code == 0 and moment > 3, (code, moment)
"""


@pytest.mark.parametrize("name", ["a.zarr", pytest.param("a.h5", marks=pytest.mark.slow)])
def test_a_run_that_was_killed_in_its_last_moments_is_not_mixed_up(tmp_path, model, image, name):
    """Between the new array under its name and the end of its folder: half of that folder is not gone on with, and
    what the new array replaced is not taken for it."""
    checkpoint = tmp_path / "last.pt"
    save_checkpoint(checkpoint, {"config": model.config.to_dict(), "weights": model.network.state_dict(), "info": {}})
    for which, grey in (("older", 255 - image), ("image", image)):
        write_volume(tmp_path / f"{which}.h5", grey[:6, :24, :24])
    (tmp_path / "out").mkdir()
    predict_volume(checkpoint, tmp_path / "image.h5", tmp_path / "truth.npy", **into(tta=1))
    given = [tmp_path / file for file in ("older.h5", "image.h5", "truth.npy", f"out/{name}")]
    done = python("-c", ENDS, checkpoint, *given)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_folder_is_held_until_its_name_is_free(tmp_path, image, model, monkeypatch):
    """A process that begins between the release and the removal would lose its files."""
    refused = []

    def set_aside(path):
        with pytest.raises(NeuropilError, match="another process is predicting"):
            journal.Journal(path)
        refused.append(path)
        return atomic.set_aside(path)

    monkeypatch.setattr(journal, "set_aside", set_aside)
    predict_volume(model, image, tmp_path / "a.zarr", **into())
    assert refused == [tmp_path / "a.zarr.unfinished"]
    assert [file.name for file in tmp_path.iterdir()] == ["a.zarr"]


def test_chunks_are_flushed_before_their_line_is_written(tmp_path, image, model, small_cells, monkeypatch):
    """After a power cut a line without its chunk would leave an empty part in the output."""
    flushed, real = set(), os.fsync

    def fsync(handle):
        flushed.add(os.fstat(handle).st_ino)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    dying = Model(Dies(model.network, 30), model.config, model.info)
    with pytest.raises(KeyboardInterrupt):
        predict_volume(dying, image, tmp_path / "a.zarr", **into())
    with journal.Journal(tmp_path / "a.zarr.unfinished") as begun:
        done = begun.done()
        files = [file for file, chunk in chunk_files(begun.array) if chunk is not None and chunk[1:] in done]
    assert len(files) > 3
    assert all(file.stat().st_ino in flushed for file in files)
