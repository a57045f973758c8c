"""GPUs where there are as many as a run wants, else the processor and one warning."""

import pytest

from neuropil.compat.pytc import read_settings, translate
from neuropil.compat.pytc.devices import choose_devices, use_devices

LEAST = ["MODEL.TARGET_OPT", '["2"]', "MODEL.OUT_PLANES", "3", "INFERENCE.STRIDE", "[4, 128, 128]"]


@pytest.mark.parametrize(
    ("wanted", "parallel", "ranks", "visible", "device", "count", "strategy", "warned"),
    [
        (1, "dp", 0, 1, "cuda", 1, "auto", False),
        (4, "dp", 0, 4, "cuda", 4, "dp", False),
        (4, "dp", 0, 2, "cuda", 2, "dp", True),
        (4, "dp", 0, 1, "cuda", 1, "auto", True),
        (4, "dp", 0, 0, "cpu", 1, "auto", True),
        (0, "dp", 0, 8, "cpu", 1, "auto", False),
        (4, "ddp", 0, 4, "cuda", 1, "auto", True),
        (4, "ddp", 2, 2, "cuda", 1, "ddp", False),
        (4, "dp", 2, 8, "cuda", 1, "ddp", False),
        (4, "ddp", 2, 1, "cpu", 1, "ddp", True),
        (0, "ddp", 2, 0, "cpu", 1, "ddp", True),
    ],
)
def test_devices(wanted, parallel, ranks, visible, device, count, strategy, warned):
    found = choose_devices(wanted, parallel, ranks, visible)
    assert (found.device, found.count, found.strategy, found.warning is not None) == (device, count, strategy, warned)


def test_on_the_processor_norms_count_each_process_and_nobody_draws_beside():
    classic = translate(read_settings([], [*LEAST, "MODEL.NORM_MODE", "sync_bn", "SYSTEM.NUM_CPUS", "8"]))
    config, warning = use_devices(classic, choose_devices(1, "dp", 2, 0), half=False)
    assert (config.model.normalisation, config.training.workers, config.training.device) == ("batch", 0, "cpu")
    assert "NORM_MODE" in warning
    config, warning = use_devices(classic, choose_devices(1, "dp", 2, 2), half=False)
    assert (config.model.normalisation, config.training.workers, warning) == ("sync_batch", 8, None)


def test_a_number_of_workers_that_was_written_is_not_ignored_in_silence():
    for words, said in ((["SYSTEM.NUM_CPUS", "8"], "SYSTEM.NUM_CPUS 8 starts no workers"), ([], None)):
        classic = translate(read_settings([], [*LEAST, *words]))
        _, warning = use_devices(classic, choose_devices(0, "dp", 0, 0), half=False)
        assert warning == said or said in warning


@pytest.mark.parametrize(
    ("mixed", "half", "precision"), [(True, True, "fp16"), (True, False, "auto"), (False, True, "fp32")]
)
def test_mixed_precision_is_what_the_gpu_has(mixed, half, precision):
    classic = translate(read_settings([], [*LEAST, "MODEL.MIXED_PRECESION", str(mixed)]))
    config, _ = use_devices(classic, choose_devices(1, "dp", 0, 1), half)
    assert config.training.precision == precision
