import numpy as np
import pytest
from typer.testing import CliRunner

from neuropil import load_config, write_volume
from neuropil.cli import app
from neuropil.config import Config
from neuropil.pipeline.output_config import write_output_config


@pytest.mark.parametrize(
    ("output", "name"),
    [("a.zarr", "a.zarr.yaml"), ("a.h5/volumes/seg", "a.h5.volumes_seg.yaml"), ("a.tif", "a.tif.yaml")],
)
def test_named_after_the_output(tmp_path, output, name):
    config = Config.from_dict({"predict": {"tta": 4}})
    path = write_output_config(config, tmp_path / output)
    assert path == tmp_path / name
    assert load_config([path]) == config


def test_segment_leaves_the_settings_it_used(tmp_path):
    affinities = np.random.default_rng(0).integers(0, 9, (3, 3, 8, 8)) / np.float32(8)
    write_volume(tmp_path / "a.h5", affinities)
    command = ["segment", str(tmp_path / "a.h5"), "-o", str(tmp_path / "s.h5"), "--score", "max", "--min-size", "5"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    used = load_config([tmp_path / "s.h5.yaml"]).segment
    assert (used.score, used.min_size, used.threshold) == ("max", 5, 0.5)
