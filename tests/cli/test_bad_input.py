"""Bad input gets one clear message and exit code 2, and leaves nothing behind that looks finished."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import torch
from typer.testing import CliRunner

from forks import python
from neuropil.cli import app
from neuropil.volumes import Metadata, write_volume

IMAGE = np.random.default_rng(0).integers(0, 256, (12, 32, 32), np.uint8)
LABELS = (IMAGE // 64).astype(np.uint32)
RECIPE = """
data:
  train: [{image: image.h5, labels: labels.h5}]
  validation: [{image: image.h5, labels: labels.h5, box: "0:6,:,:"}]
  test: {image: image.h5, labels: labels.h5, box: "0:6,:,:"}
model: {widths: [4, 6], offsets: [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]}
training: {patch: [4, 16, 16], iterations: 1, device: cpu}
predict: {tta: 1}
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A real one, of an untrained network."""
    from neuropil.config import Config
    from neuropil.models import build_network
    from neuropil.models.checkpoint import save_checkpoint

    path = tmp_path_factory.mktemp("model") / "model.pt"
    config = Config.from_dict({"model": {"widths": [4, 6], "offsets": [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]}})
    network = build_network(config.model)
    save_checkpoint(path, {"config": config.to_dict(), "weights": network.state_dict(), "info": {}})
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch, checkpoint):
    """Sound files with sound names; each test spoils one."""
    monkeypatch.chdir(tmp_path)
    write_volume("image.h5", IMAGE, Metadata(voxel_size=(30, 6, 6)))
    write_volume("labels.h5", LABELS)
    write_volume("affinities.h5", np.full((3, 12, 32, 32), 0.9, np.float32))
    Path("recipe.yaml").write_text(RECIPE)
    os.link(checkpoint, "model.pt")
    return tmp_path


def refused(*arguments: object) -> str:
    """The one message of a command that must not succeed."""
    before = sorted(Path().rglob("*"))
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 2
    assert result.stderr.startswith("neuropil: ")
    assert "Traceback" not in result.stderr
    left = {path.name for path in Path().rglob("*") if path not in before and ".unfinished/" not in str(path)}
    finished = {"out.h5", "out.tif", "scores.json", "last.pt", "best.pt", "segmentation.h5", "affinities.zarr"}
    assert not left & finished
    return result.stderr


TRAIN = ("train", "recipe.yaml")
CHECK = ("config", "check", "recipe.yaml")
RUN = ("run", "recipe.yaml")
NEW = ("config", "new", "image.h5", "labels.h5")
PREDICT = ("predict", "model.pt", "image.h5", "-o", "out.h5")
SEGMENT = ("segment", "affinities.h5", "-o", "out.h5")
TUNE = ("tune", "affinities.h5", "labels.h5")
EVALUATE = ("evaluate", "labels.h5", "labels.h5", "--json", "scores.json")
INFO = ("info", "image.h5")
CONVERT = ("convert", "image.h5", "out.h5")


def each(*pairs):
    """(file to spoil, commands that read it) → one case per command."""
    cases = [(file, command) for file, commands in pairs for command in commands]
    return pytest.mark.parametrize(
        ("file", "command"), cases, ids=[f"{command[0]}-{command[1]}-{file}" for file, command in cases]
    )


READERS = (
    ("image.h5", (TRAIN, CHECK, RUN, NEW, PREDICT, INFO, CONVERT)),
    ("labels.h5", (TRAIN, CHECK, RUN, NEW, TUNE, EVALUATE)),
    ("affinities.h5", (SEGMENT, TUNE)),
)


@each(*READERS, ("recipe.yaml", (TRAIN, CHECK, RUN)), ("model.pt", (PREDICT, ("info", "model.pt"))))
def test_missing_file(folder, file, command):
    Path(file).unlink()
    assert file in refused(*command)


@each(*READERS)
def test_several_arrays_and_none_named(folder, file, command):
    with h5py.File(file, "a") as container:
        container["other"] = container["main"][()]
    # info is how a user finds out what there is: it lists them
    message = CliRunner().invoke(app, list(command)).stdout if command == INFO else refused(*command)
    assert file in message
    assert "main" in message
    assert "other" in message


@each(*READERS)
def test_wrong_dimensions(folder, file, command):
    if command in (INFO, CONVERT):
        write_wrongly(file, np.zeros((2, 2, 3, 4, 5), np.uint8))
    else:
        write_volume(file, np.zeros((12, 32, 32) if "aff" in file else (3, 12, 32, 32), np.uint8))
    message = refused(*command)
    assert file in message
    assert "(3, 12, 32, 32)" in message or "(12, 32, 32)" in message or "(2, 2, 3, 4, 5)" in message


@each(("labels.h5", (TRAIN, CHECK, RUN, NEW, TUNE)), ("image.h5", (("evaluate", "image.h5", "labels.h5"),)))
def test_shapes_that_differ_with_neither_box_nor_origin(folder, file, command):
    write_volume(file, LABELS[:9])
    message = refused(*command)
    assert file in message
    assert "(9, 32, 32)" in message
    assert "box" in message


@each(("labels.h5", (TRAIN, RUN, NEW, TUNE, EVALUATE)))  # not CHECK, which reads no voxels
def test_fractions_as_labels(folder, file, command):
    write_volume(file, LABELS.astype(np.float32) + 0.5)
    message = refused(*command)
    assert file in message
    assert "float32" in message


@each(*READERS)
def test_truncated_hdf5(folder, file, command):
    content = Path(file).read_bytes()
    Path(file).write_bytes(content[: len(content) // 2])
    assert file in refused(*command)


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.5, 0.98])
def test_truncated_tiff(folder, keep):
    tifffile.imwrite("whole.tif", IMAGE, photometric="minisblack")
    content = Path("whole.tif").read_bytes()
    Path("half.tif").write_bytes(content[: int(len(content) * keep)])
    assert "half.tif" in refused("convert", "half.tif", "out.h5")
    assert "half.tif" in refused("predict", "model.pt", "half.tif", "-o", "out.h5")


@each(("affinities.h5", (SEGMENT, TUNE)), ("image.h5", (PREDICT,)))
def test_nan(folder, file, command):
    array = np.full((12, 32, 32), 0.5, np.float32)
    array[3, 4, 5] = np.nan
    write_volume(file, array if file == "image.h5" else np.stack([array] * 3))
    message = refused(*command)
    assert file in message
    assert "NaN" in message or "finite" in message


@each(*READERS)
def test_empty_volume(folder, file, command):
    write_wrongly(file, np.zeros((0, 32, 32) if "aff" not in file else (3, 0, 32, 32), np.uint8))
    message = refused(*command)
    assert file in message
    assert "empty" in message


@pytest.mark.parametrize("command", [TRAIN, CHECK, RUN], ids=" ".join)
def test_patch_larger_than_the_volume(folder, command):
    message = refused(*command, "--set", "training.patch=[16, 16, 16]")
    assert "training.patch" in message
    assert "image.h5" in message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("data.test.box='0:13,:,:'", "data.test.box: expected a box inside image.h5"),
        ("data.test.labels=small.h5", "data.test: expected labels in 0:6"),
        ("data.test={image: image.h5, labels: small.h5}", "(5, 32, 32)"),
        ("data.test.image=affinities.h5", "(3, 12, 32, 32)"),
        ("data.test=null", "data.test: expected the volume to segment"),
    ],
)
def test_a_test_volume_that_does_not_fit_is_found_before_training(folder, change, says):
    write_volume("small.h5", LABELS[:5])
    assert says in refused(*RUN, "--set", change)


@pytest.mark.parametrize("command", [TRAIN, CHECK, RUN, ("config", "show", "recipe.yaml")], ids=" ".join)
def test_unknown_key(folder, command):
    Path("recipe.yaml").write_text(RECIPE.replace("iterations", "iteratons"))
    assert "recipe.yaml:7: training.iteratons: unknown key; did you mean iterations?" in refused(*command)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", "weights", "numbers", "pickle"])
@pytest.mark.parametrize("command", [PREDICT, (*TRAIN, "--resume", "bad.pt"), (*TRAIN, "--pretrained", "bad.pt")])
def test_a_checkpoint_that_is_none(folder, content, command):
    if isinstance(content, bytes):
        Path("bad.pt").write_bytes(content)
    else:
        torch.save({"weights": {"weights": {}}, "numbers": 3, "pickle": Path("x")}[content], "bad.pt")
    message = refused(*("bad.pt" if part == "model.pt" else part for part in command))
    assert "bad.pt is not a neuropil checkpoint: " in message
    assert "weights_only" not in message or content == "pickle"
    if isinstance(content, bytes):
        assert message.strip().endswith("it is damaged, truncated or something else")


@pytest.mark.parametrize(
    "command",
    [
        (*PREDICT[:-1], "image.h5"),
        (*PREDICT[:-1], "./image.h5/main"),
        (*SEGMENT[:-1], "affinities.h5"),
        ("segment", "affinities.zarr", "-o", "affinities.zarr/"),
    ],
    ids=" ".join,
)
def test_an_output_never_replaces_its_own_input(folder, command):
    from neuropil.volumes import open_volume

    write_volume("affinities.zarr", np.full((3, 12, 32, 32), 0.9, np.float32))
    shape = open_volume(command[-3]).shape
    assert "would replace" in refused(*command)
    assert open_volume(command[-3]).shape == shape


def test_an_image_refused_leaves_nothing_and_stands_in_no_way(folder):
    image = IMAGE.astype(np.float32)
    image[0, 0, 0] = np.nan
    write_volume("float.h5", image)
    assert "expected finite grey values, got NaN" in refused("predict", "model.pt", "float.h5", "-o", "out.h5")
    assert not list(Path().glob("*.unfinished"))
    assert CliRunner().invoke(app, list(PREDICT)).exit_code == 0


def test_empty_offsets_are_no_offsets(folder):
    assert "offsets are written" in refused(*SEGMENT, "--offsets", "")


@pytest.mark.parametrize(
    "command",
    [
        (*PREDICT[:-1], "file/out.h5"),
        (*SEGMENT[:-1], "file/out.h5"),
        (*CONVERT[:-1], "file/out.h5"),
        (*CONVERT[:-1], "file/deep/out.tif"),
        (*NEW, "-o", "file/recipe.yaml"),
        (*EVALUATE[:-1], "file/scores.json"),
        (*TUNE, "-o", "file"),
        (*TRAIN, "--out", "file"),
        (*RUN, "--out", "file/run"),
    ],
    ids=lambda command: f"{command[0]} {command[-1]}",
)
def test_a_folder_that_cannot_be_written(folder, command):
    Path("file").write_text("a file where a folder should be")
    assert "file" in refused(*command)
    assert Path("file").read_text() == "a file where a folder should be"


@pytest.mark.parametrize(
    "command",
    [(*SEGMENT[:-1], "out.h5"), (*CONVERT[:-1], "out.h5"), (*CONVERT[:-1], "out.tif"), (*TRAIN, "--out", "trained")],
    ids=lambda command: f"{command[0]} {command[-1]}",
)
def test_a_full_disk(folder, command):
    """Files cannot grow beyond 4 kB in the child until a write has failed, which is how a full disk looks to it."""
    code = """
import signal, sys
from resource import RLIM_INFINITY, RLIMIT_FSIZE, setrlimit
signal.signal(signal.SIGXFSZ, lambda *_: setrlimit(RLIMIT_FSIZE, (RLIM_INFINITY, RLIM_INFINITY)))
setrlimit(RLIMIT_FSIZE, (4096, RLIM_INFINITY))
from neuropil.__main__ import main
main()
"""
    done = python("-c", code, *command)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "neuropil: " in done.stderr
    assert not [path for path in Path().rglob("*") if path.name in ("out.h5", "out.tif", "last.pt", "best.pt")]


def test_ctrl_c_while_python_still_imports():
    code = """
import sys
class Interrupted:
    def find_spec(self, name, *_):
        if name == "neuropil.cli.tune":
            raise KeyboardInterrupt
for name in [name for name in sys.modules if name.startswith("neuropil.cli")]:
    del sys.modules[name]
sys.meta_path.insert(0, Interrupted())
from neuropil.__main__ import main
main()
"""
    done = python("-c", code, "info")
    assert (done.returncode, done.stderr) == (130, "stopped\n")


def write_wrongly(file: str, array: np.ndarray) -> None:
    """What our own writer would refuse."""
    with h5py.File(file, "w") as container:
        container["main"] = array


@pytest.mark.parametrize("option", [("--block", "8,16,16"), ("--workers", "1")], ids=str)
@pytest.mark.usefixtures("folder")
def test_several_devices_for_one_block(option):
    assert "leave out --devices" in refused(*PREDICT, "--devices", "2", "--device", "cpu", *option)


@pytest.mark.usefixtures("folder")
def test_one_box_for_volumes_in_which_it_is_another():
    for size in (16, 32):
        write_volume(f"a{size}.h5", np.full((3, 4, size, 32), 0.9, np.float32))
        write_volume(f"t{size}.h5", np.ones((4, size, 32), np.uint8))
    command = ("tune", "a32.h5", "t32.h5", "a16.h5", "t16.h5", "--box", "0:2,:,:")
    assert "write out its ends" in refused(*command)


@pytest.mark.parametrize("room", [1, 20])
def test_too_little_memory_is_one_message(tmp_path: Path, room: int) -> None:
    """Torch has no class of its own for it: a map of a file that finds no room is a RuntimeError."""
    target = tmp_path / "o.safetensors"
    assert python("-m", "neuropil", "convert", "snemi3d-fast", target).returncode == 0
    code = f"""
import resource, neuropil.cli, neuropil.models.released, neuropil.compat.pytc.checkpoint
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + {room} * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
neuropil.cli.app(["convert", "snemi3d", "{target}"])
"""
    done = python("-c", code)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("neuropil: not enough memory"), done.stderr
    assert "Traceback" not in done.stderr
