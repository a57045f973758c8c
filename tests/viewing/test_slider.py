"""A slider as part of a viewer's state, without a browser; tests/viewing/test_proofreader.py drags it in one."""

from queue import Queue

import numpy as np
import pytest

from neuropil.viewing.layers import layers_of
from neuropil.viewing.slider import CONTROL, LAYER, Slider
from neuropil.viewing.viewer import close_viewer, open_viewer
from neuropil.volumes import array_volume

pytest.importorskip("neuroglancer", reason="the extra `view` is not installed")


@pytest.fixture
def viewer():
    yield open_viewer(layers_of([array_volume(np.zeros((4, 8, 8), np.uint8))]))
    close_viewer()


def test_values_are_followed_and_other_changes_are_not(viewer):
    said = Queue()
    slider = Slider(viewer, 0.165, said.put)
    assert slider.value == 0.165
    for value in (0.3, 0.4):
        with viewer.txn() as state:
            state.position = [1, 2, value]
        with viewer.txn() as state:
            state.layers[LAYER].shader_controls[CONTROL] = value
        assert said.get(timeout=60) == value
        assert slider.value == value
    assert said.empty()


def test_values_that_come_during_work_are_skipped_but_for_the_last(viewer):
    said, go_on = Queue(), Queue()
    slider = Slider(viewer, 0.5, lambda value: (said.put(value), go_on.get(timeout=60)))
    for value in (0.1, 0.2, 0.3):
        with viewer.txn() as state:
            slider.put(state, value)
        if value == 0.1:
            assert said.get(timeout=60) == 0.1
    go_on.put(None)
    assert said.get(timeout=60) == 0.3
    go_on.put(None)


@pytest.mark.parametrize(
    ("shown", "value"),
    [
        ({}, 0.7),  # Neuroglancer leaves the default out
        ({CONTROL: 1.4}, 1.0),  # typed
        ({CONTROL: -3}, 0.0),
    ],
)
def test_what_the_page_says(viewer, shown, value):
    slider = Slider(viewer, 0.7, lambda _: None)
    with viewer.txn() as state:
        state.layers[LAYER].shader_controls = shown
    assert slider.value == value


def test_a_removed_slider_keeps_its_value_and_comes_back(viewer):
    followed = Queue()
    slider = Slider(viewer, 0.5, followed.put)
    with viewer.txn() as state:
        slider.put(state, 0.25)
    assert followed.get(timeout=60) == 0.25
    with viewer.txn() as state:
        del state.layers[LAYER]
        del state.tool_palettes["Threshold"]
    assert slider.value == 0.25
    with viewer.txn() as state:
        slider.put(state, 0.75)
    assert followed.get(timeout=60) == 0.75
    assert "Threshold" in viewer.state.tool_palettes.to_json()
