import numpy as np
import pytest
import torch

from neuropil import NEAREST, Config
from neuropil.inference import predict
from neuropil.inference.engine import Engine
from neuropil.inference.trial import compiled_if_faster
from neuropil.models import build_network
from neuropil.models.checkpoint import Model

WINDOW = torch.zeros(1, 2, 4, 4)


class Clock:
    """A clock that only moves when a network is run: no test depends on how busy the machine is."""

    now = 0.0

    def __call__(self):
        return self.now

    def slow(self, seconds):
        def network(image):
            self.now += seconds
            return image.expand(-1, 3, -1, -1, -1)

        return network


@pytest.mark.parametrize(("compiled", "kept"), [(0.001, True), (0.02, False), (0.04, False)])
def test_what_is_faster_on_a_tile_is_kept(monkeypatch, compiled, kept):
    clock = Clock()
    monkeypatch.setattr(torch, "compile", lambda network, dynamic: clock.slow(compiled))
    assert compiled_if_faster(Engine(clock.slow(0.02), NEAREST, NEAREST, tta=8), WINDOW, clock=clock) is kept


def test_a_compiler_that_fails_is_told_and_not_needed(monkeypatch):
    def broken(network, dynamic):
        raise RuntimeError("no compiler here\nand a long story")

    monkeypatch.setattr(torch, "compile", broken)
    config = Config.from_dict({"model": {"widths": [2]}, "predict": {"compile": True}})
    model = Model(build_network(config.model).eval(), config, {})
    image = np.zeros((2, 8, 8), np.uint8)
    with pytest.warns(UserWarning, match=r"torch.compile failed \(no compiler here\)"):
        found = predict(model, image, tta=1)
    np.testing.assert_array_equal(found, predict(model, image, tta=1, compile=False))


@pytest.mark.slow
def test_a_network_that_is_compiled_says_the_same(monkeypatch):
    monkeypatch.setattr("neuropil.inference.request.compiled_if_faster", lambda engine, window: True)
    torch.manual_seed(0)
    config = Config.from_dict({"model": {"widths": [2, 3]}, "training": {"precision": "fp32"}})
    model = Model(build_network(config.model).eval(), config, {})
    image = np.random.default_rng(0).random((4, 20, 28), np.float32)
    compiled, plain = (predict(model, image, tta=1, compile=how) for how in (True, False))
    np.testing.assert_allclose(compiled, plain, rtol=0, atol=1e-5)
