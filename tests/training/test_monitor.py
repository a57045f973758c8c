"""Pictures in TensorBoard: which edges are red, green and blue."""

from neuropil.geometry import NEAREST
from neuropil.training.monitor import rgb_channels


def test_colours_are_x_y_z_or_as_the_classic_program_has_them():
    assert rgb_channels(NEAREST) == [2, 1, 0]
    assert rgb_channels(NEAREST, "zyx") == [0, 1, 2]
    far = ((0, 0, -1), (0, -1, 0), (-1, 0, 0), (0, 0, -9))
    assert rgb_channels(far) == [0, 1, 2]
    assert rgb_channels(far, "zyx") == [2, 1, 0]
    assert rgb_channels(((0, 0, -1),), "zyx") == [0, 0, 0]
