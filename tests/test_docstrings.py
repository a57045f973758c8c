"""Every example in a docstring runs and ends as it says."""

import doctest
import importlib
import pkgutil

import pytest
import torch

import neuropil
from neuropil.models.precision import no_int8

NAMES = sorted(
    module.name
    for module in pkgutil.walk_packages(neuropil.__path__, "neuropil.")
    if not module.name.rpartition(".")[2].startswith("_")
)
OPTIONAL = {"DracoPy", "dask", "distributed", "kimimaro", "monai", "mwatershed", "neuroglancer", "waterz", "zmesh"}


@pytest.mark.parametrize("name", NAMES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        if (error.name or "").split(".")[0] in OPTIONAL:
            pytest.skip(f"{error.name} is not installed")
        raise
    if name == "neuropil.models.eight_bits" and (why := no_int8(torch.device("cpu"), True)):
        pytest.skip(why)
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0, f"{result.failed} of {result.attempted} examples in {name} fail; see above"
