"""The watershed as one would explain it: voxel by voxel, neighbour by neighbour."""

import numpy as np

# In the order in which ties are decided: -x, -y, -z, +x, +y, +z.
STEPS = ((0, 0, -1), (0, -1, 0), (-1, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))


def face_value(values_EZYX, offsets, voxel, other):
    """The affinity stored for the pair, at whichever end its offset puts it; None where the list has no such edge."""
    step = tuple(b - a for a, b in zip(voxel, other, strict=True))
    back = tuple(-s for s in step)
    if step in offsets:
        return values_EZYX[(offsets.index(step), *voxel)]
    if back in offsets:
        return values_EZYX[(offsets.index(back), *other)]
    return None


def neighbours(voxel, shape):
    """The up to six voxels inside the volume that share a face with this one, in tie order."""
    for step in STEPS:
        other = tuple(v + s for v, s in zip(voxel, step, strict=True))
        if all(0 <= o < n for o, n in zip(other, shape, strict=True)):
            yield other


def watershed(values_EZYX, low, high, offsets):
    """Labels from 1 in raster order of first voxels; 0 where no face is above low."""
    shape = values_EZYX.shape[1:]
    up = {voxel: voxel for voxel in np.ndindex(shape)}

    def find(voxel):
        while up[voxel] != voxel:
            voxel = up[voxel]
        return voxel

    def unite(a, b):
        a, b = sorted((find(a), find(b)))
        up[b] = a

    background = set()
    for voxel in np.ndindex(shape):
        best, target = -1.0, None
        for other in neighbours(voxel, shape):
            value = face_value(values_EZYX, offsets, voxel, other)
            if value > best:
                best, target = value, other
            if value >= high:
                unite(voxel, other)
        if best > low:
            unite(voxel, target)
        else:
            background.add(voxel)
    labels = np.zeros(shape, np.int64)
    names = {}
    for voxel in np.ndindex(shape):
        if voxel not in background:
            labels[voxel] = names.setdefault(find(voxel), len(names) + 1)
    return labels


def fill_background(values_EZYX, labels, offsets):
    """Layer by layer, each background voxel takes the label across its best face."""
    labels = labels.copy()
    while True:
        after = labels.copy()
        for voxel in zip(*np.nonzero(labels == 0), strict=True):
            best = -1.0
            for other in neighbours(voxel, labels.shape):
                value = face_value(values_EZYX, offsets, voxel, other)
                if labels[other] and value > best:
                    best, after[voxel] = value, labels[other]
        if np.array_equal(after, labels):
            return labels
        labels = after
