"""N5 as other programs write it: every voxel, place and size as meant, or refused by name."""

import pytest

from foreign import IMAGE, same, write_n5


@pytest.mark.parametrize(
    ("attributes", "group", "size", "origin"),
    [
        ({"resolution": [4, 5, 40], "offset": [8, 10, 120]}, None, (40, 5, 4), (3, 2, 2)),
        ({"resolution": [4, 5, 40], "units": ["nm", "nm", "nm"]}, None, (40, 5, 4), None),
        (
            {"resolution": [0.004, 0.005, 0.04], "units": ["um"] * 3, "offset": [0.008, 0, 0]},
            None, (40, 5, 4), (0, 0, 2),
        ),
        ({"pixelResolution": {"dimensions": [4, 5, 40], "unit": "nm"}}, None, (40, 5, 4), None),
        ({"pixelResolution": [4, 5, 40]}, None, (40, 5, 4), None),
        (
            {"transform": {"axes": ["z", "y", "x"], "scale": [40, 5, 4], "translate": [80, 0, 4], "units": ["nm"] * 3}},
            None, (40, 5, 4), (2, 0, 1),
        ),
        (
            {"transform": {"axes": ["x", "y", "z"], "scale": [4, 5, 40], "translate": [4, 0, 80], "units": ["nm"] * 3}},
            None, (40, 5, 4), (2, 0, 1),
        ),
        ({}, {"resolution": [4, 5, 40], "units": ["nm"] * 3}, (40, 5, 4), None),
        (
            {"downsamplingFactors": [3, 3, 1]}, {"pixelResolution": {"dimensions": [4, 5, 40], "unit": "nm"}},
            (40, 15, 12), None,
        ),
        (
            {}, {"multiscales": [{"datasets": [{"path": "s0", "transform": {
                "axes": ["z", "y", "x"], "scale": [40, 5, 4], "translate": [40, 0, 0], "units": ["nm"] * 3}}]}]},
            (40, 5, 4), (1, 0, 0),
        ),
    ],
)  # fmt: skip
def test_n5_counts_x_y_z_in_all_attributes(tmp_path, attributes, group, size, origin):
    write_n5(tmp_path / "a.n5/s0", IMAGE, attributes, group)
    metadata = same(tmp_path / "a.n5/s0", IMAGE, voxel_size=size)
    if "downsamplingFactors" in attributes:
        assert metadata.position == pytest.approx((0, 5, 4))
    else:
        assert metadata.origin == origin
