import numpy as np
import pytest
import torch

from neuropil import NeuropilError
from neuropil.augment import Intensity, Symmetry, apply_curves, apply_symmetry, draw_curves, intensity, to_unit


def vary_intensity(image, spread, rng, backwards=False):
    return apply_curves(image, draw_curves(rng, spread, len(image), backwards))


@pytest.mark.parametrize(
    ("image", "unit"),
    [
        (torch.tensor([0, 255], dtype=torch.uint8), [0.0, 1.0]),
        (torch.tensor([0, 65535], dtype=torch.uint16), [0.0, 1.0]),
        (torch.tensor([0.0, 0.25], dtype=torch.float64), [0.0, 0.25]),
    ],
    ids=["uint8", "uint16", "float"],
)
def test_to_unit(image, unit):
    assert to_unit(image).tolist() == unit
    assert to_unit(image).dtype == torch.float32


@pytest.mark.parametrize(
    "image",
    [torch.tensor([1], dtype=torch.int32), torch.tensor([float("nan")]), torch.tensor([1.5]), torch.tensor([-0.1])],
    ids=["int32", "nan", "above 1", "below 0"],
)
def test_to_unit_refuses(image):
    with pytest.raises(NeuropilError, match="image"):
        to_unit(image)


def test_varies_sections_by_themselves_or_alike_or_not_at_all():
    image = torch.full((5, 2, 2), 0.4)
    strong = Intensity(0.5, 0.5, 0.5, 0.7)
    rng = np.random.default_rng(1)
    kinds = {"none": 0, "alike": 0, "apart": 0}
    for _ in range(200):
        sections = vary_intensity(image, strong, rng)[:, 0, 0]
        assert 0 <= sections.min() <= sections.max() <= 1
        if torch.equal(sections, image[:, 0, 0]):
            kinds["none"] += 1
        else:
            kinds["alike" if sections.unique().numel() == 1 else "apart"] += 1
    assert kinds["none"] == pytest.approx(60, abs=25)
    assert kinds["alike"] == pytest.approx(70, abs=25)
    assert kinds["apart"] == pytest.approx(70, abs=25)


def test_zero_strength_changes_nothing():
    image = torch.rand(3, 4, 4)
    same = vary_intensity(image, Intensity(0, 0, 0, 1.0), np.random.default_rng(0))
    assert torch.allclose(image, same, atol=1e-6)


STRONG = Intensity(0.5, 0.5, 0.5, 0.7)


@pytest.mark.parametrize("seed", range(8))
def test_bytes_vary_as_their_grey_values_do(seed):
    image = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (5, 21, 30), dtype=np.uint8))
    got = vary_intensity(image, STRONG, np.random.default_rng(seed))
    assert got.dtype == torch.float32
    assert torch.allclose(got, vary_intensity(to_unit(image), STRONG, np.random.default_rng(seed)), rtol=1e-6, atol=0)


def test_bytes_of_shipped_patches_vary_to_the_last_bit():
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 32, 64), dtype=np.uint8))
    strong = STRONG._replace(probability=1.0)
    got, expected = (vary_intensity(one, strong, np.random.default_rng(3)) for one in (image, to_unit(image)))
    assert torch.equal(got, expected)


@pytest.mark.parametrize("seed", range(4))
def test_an_image_turned_before_is_one_turned_after(seed):
    image = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (5, 32, 32), dtype=np.uint8))
    symmetry = Symmetry(True, False, True, (0, 2, 1))
    after = apply_symmetry(vary_intensity(image, STRONG, np.random.default_rng(seed)), symmetry)
    before = vary_intensity(apply_symmetry(image, symmetry), STRONG, np.random.default_rng(seed), backwards=True)
    assert torch.equal(before, after)
    assert before.is_contiguous()


def test_tables_are_read_alike_on_processors_and_gpus():
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.integers(0, 256, (3, 7, 9), dtype=np.uint8)).transpose(1, 2)
    table = torch.from_numpy(rng.random((3, 256), np.float32))
    assert torch.equal(intensity.look_up(image, table), intensity._gather(image, table))
