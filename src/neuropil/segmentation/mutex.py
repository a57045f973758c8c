"""The mutex watershed: from affinities of any offsets to a segmentation, without fragments or threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neuropil import _native
from neuropil.errors import NeuropilError
from neuropil.geometry import Offsets, Triple
from neuropil.segmentation.codes import Affinities, Labels, all_codes, label_array, steps, thread_count
from neuropil.volumes import Encoding
from neuropil.volumes.volume import without_mask

_LARGEST_BIAS = 2
_NEVER = np.uint32(0xFFFFFFFF)
_REPULSIVE = np.uint32(1 << 31)


def mutex_watershed(
    affinities: Affinities,
    offsets: str | Sequence[Sequence[int]] | None = None,
    *,
    bias: float | Sequence[float] = -0.5,
    strides: Triple = (1, 1, 1),
    mask: npt.NDArray[Any] | None = None,
    seeds: Labels | None = None,
    encoding: Encoding | None = None,
    threads: int | None = None,
) -> npt.NDArray[Any]:
    """Segment by one pass over all edges, strongest first: attractive edges unite, repulsive ones exclude.

    The weight of an edge is its affinity plus ``bias``. Edges come by descending ``|weight|``, ties by channel, then by
    voxel. A positive edge unites the clusters at its ends unless they exclude each other; a negative one makes them
    exclude each other for good; a weight of 0 says nothing. Edges that leave the volume are ignored.

    Args:
        affinities: [edge, z, y, x] as for :func:`neuropil.watershed`; all channels are used.
        offsets: one (z, y, x) per channel, of any length and sign; the volume's own when not given.
        bias: one number for all channels, or one per channel. Lower ones for long offsets split more.
        strides: offsets longer than one voxel count only at voxels whose z, y, x are multiples of these.
        mask: [z, y, x], voxels where it is 0 take no part and are 0 in the result.
        seeds: [z, y, x], integers: voxels of the same seed > 0 are one segment, different seeds never unite.
        encoding, threads: as for :func:`neuropil.watershed`.

    Returns:
        uint32 [z, y, x]; ids from 1 in the order of first voxels, 0 where masked.

    Raises:
        NeuropilError: as :func:`neuropil.watershed`; not one bias or one per channel, or beyond ±2; strides below 1;
            masks or seeds of another shape; 2**31 voxels or more, or more than 128 channels of 16 bits.

    Wolf et al., "The Mutex Watershed" (2018).

    >>> affinities = np.ones((2, 1, 1, 4))
    >>> affinities[1] = 0.1
    >>> mutex_watershed(affinities, [(0, 0, -1), (0, 0, -2)], bias=-0.2).tolist()
    [[[1, 1, 1, 1]]]
    """
    array, parsed, encoding = all_codes(affinities, offsets, encoding, threads)
    shape = array.shape[1:]
    strides = steps(strides, "strides")
    if array[0].size >= _native.INDEX_LIMIT:
        raise NeuropilError(f"the mutex watershed takes up to 2**31 voxels at once, got {shape}")
    labels = np.empty(shape, np.uint32)
    _native.mutex_watershed(
        array, np.array(parsed, np.int64), sweep_ranks(encoding, parsed, bias), strides,
        _mask(mask, shape), _seeds(seeds, shape), labels, thread_count(threads),
    )  # fmt: skip
    return labels


def sweep_ranks(encoding: Encoding, offsets: Offsets, bias: float | Sequence[float]) -> npt.NDArray[np.uint32]:
    """The place of each (channel, code) in the sweep: bit 31 is set for repulsive edges, all bits for weight 0."""
    weight = encoding.table + channel_biases(bias, len(offsets))[:, None]
    channel = np.repeat(np.arange(len(offsets)), encoding.codes)
    order = np.lexsort((channel, -np.abs(weight).ravel()))
    size, sorted_channel = np.abs(weight).ravel()[order], channel[order]
    new = (size[1:] != size[:-1]) | (sorted_channel[1:] != sorted_channel[:-1])
    rank = np.empty(weight.size, np.uint32)
    rank[order] = np.concatenate([[0], np.cumsum(new)])
    if weight.size > 1 << 23:
        raise NeuropilError(f"the mutex watershed takes up to 128 channels of 16 bits, got {len(offsets)}")
    flat = weight.ravel()
    rank[flat < 0] |= _REPULSIVE
    rank[flat == 0] = _NEVER
    return rank


def channel_biases(bias: float | Sequence[float], channels: int) -> npt.NDArray[np.float64]:
    """The bias of each channel.

    Raises:
        NeuropilError: neither one number nor one per channel, or beyond ±2: affinities are at most 1, and added to a
            far larger bias they are lost to rounding.

    >>> channel_biases(-0.5, 3)
    array([-0.5, -0.5, -0.5])
    """
    try:
        given = np.asarray(bias, np.float64)
    except (TypeError, ValueError):
        given = np.zeros(0)
    if given.shape not in ((), (channels,)) or not (np.abs(given) <= _LARGEST_BIAS).all():
        raise NeuropilError(f"expected one bias from -2 to 2, or one for each of {channels} channels, got {bias!r}")
    return np.broadcast_to(given, channels)


def _mask(mask: npt.NDArray[Any] | None, shape: tuple[int, ...]) -> npt.NDArray[np.uint8] | None:
    if mask is None:
        return None
    mask = np.asarray(without_mask(mask, "mask"))
    if mask.shape != shape:
        raise NeuropilError(f"expected a mask of shape {shape}, got {mask.shape}")
    return np.ascontiguousarray(mask != 0, np.uint8)


def _seeds(seeds: Labels | None, shape: tuple[int, ...]) -> npt.NDArray[np.uint32] | None:
    if seeds is None:
        return None
    labels = label_array(seeds, shape, "seeds")
    if labels.max(initial=0) >= 1 << 32:
        ids = np.unique(labels)
        labels = np.searchsorted(ids, labels) + (ids[0] > 0)
    return labels.astype(np.uint32)
