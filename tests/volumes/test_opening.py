import numpy as np
import pytest

from neuropil.volumes import borrowed, open_volume, write_volume


def test_closes_only_what_it_opened(tmp_path):
    path = tmp_path / "a.h5"
    write_volume(path, np.ones((2, 3, 4), np.uint8))
    with borrowed(path) as volume:
        assert volume.read().all()
    with pytest.raises(ValueError, match="cannot read"):
        volume.read()
    with open_volume(path) as mine:
        with borrowed(mine) as volume:
            assert volume is mine
        assert mine.read().all()
