"""A step is skipped only while everything it was made from is the same."""

import json
import os

import numpy as np
import pytest

import neuropil
from neuropil.errors import NeuropilError
from neuropil.pipeline.scoring import write_json
from neuropil.pipeline.steps import Steps, digest_of
from neuropil.volumes import write_volume


def test_a_step_is_done_when_it_ended_from_the_same_inputs_with_its_outputs(tmp_path):
    steps, output = Steps(tmp_path), tmp_path / "a.h5"
    steps.begin("predict", "x")
    assert steps.begun("predict", "x")
    assert not steps.done("predict", "x", [])
    steps.finish("predict", "x")
    again = Steps(tmp_path)
    assert again.done("predict", "x", [])
    assert not again.begun("predict", "x")
    assert not again.done("predict", "y", [])
    assert not again.done("predict", "x", [output])
    assert not again.done("segment", "x", [])


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_a_damaged_record_means_nothing_is_done(tmp_path, text):
    (tmp_path / "steps.json").write_text(text)
    assert not Steps(tmp_path).done("predict", "x", [])


def test_fingerprints_follow_content_and_settings(tmp_path):
    file = tmp_path / "a.h5"
    file.write_bytes(b"abc")
    first = digest_of({"tta": 8}, f"{file}/main")
    assert digest_of({"tta": 8}, f"{file}/main") == first
    assert digest_of({"tta": 4}, f"{file}/main") != first
    assert digest_of({"tta": 8}, file) == first
    file.write_bytes(b"abcd")
    longer = digest_of({"tta": 8}, f"{file}/main")
    assert longer != first
    os.utime(file, ns=(1, 1))
    assert digest_of({"tta": 8}, f"{file}/main") != longer


def test_fingerprints_of_folders_and_patterns(tmp_path):
    write_volume(tmp_path / "a.zarr", np.zeros((2, 3, 4), "u1"))
    (tmp_path / "1.png").write_bytes(b"a")
    folder, pattern = digest_of({}, tmp_path / "a.zarr"), digest_of({}, f"{tmp_path}/*.png")
    write_volume(tmp_path / "a.zarr", np.zeros((2, 3, 5), "u1"))
    (tmp_path / "2.png").write_bytes(b"a")
    assert digest_of({}, tmp_path / "a.zarr") != folder
    assert digest_of({}, f"{tmp_path}/*.png") != pattern


def test_json_is_whole_or_what_was_there_before(tmp_path):
    path = tmp_path / "scores.json"
    write_json(path, {"voi": 1})
    with pytest.raises(TypeError):
        write_json(path, {"voi": object()})
    assert json.loads(path.read_text()) == {"written_by": f"neuropil {neuropil.__version__}", "voi": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["scores.json"]
    with pytest.raises(NeuropilError):
        write_json(path / "scores.json", {})
