"""The mutex watershed as one would explain it: sort all edges, look at one after another."""

import numpy as np


def mutex_watershed(values_EZYX, offsets, bias, strides=(1, 1, 1), mask=None, seeds=None):
    """Labels from 1 in raster order of first voxels, 0 where masked."""
    shape = values_EZYX.shape[1:]
    mask = np.ones(shape, bool) if mask is None else mask
    cluster = {voxel: {voxel} for voxel in np.ndindex(shape) if mask[voxel]}
    excludes = set()  # pairs of voxels

    def exclude_each_other(a, b):
        if seeds is not None:
            ids = [{seeds[v] for v in c if seeds[v]} for c in (a, b)]
            if ids[0] and ids[1] and ids[0] != ids[1]:
                return True
        return any((p, q) in excludes or (q, p) in excludes for p in a for q in b)

    def unite(a, b):
        joined = cluster[a] | cluster[b]
        for voxel in joined:
            cluster[voxel] = joined

    if seeds is not None:
        for voxel in cluster:
            for other in cluster:
                if seeds[voxel] and seeds[voxel] == seeds[other] and cluster[voxel] is not cluster[other]:
                    unite(voxel, other)

    edges = []
    for channel, offset in enumerate(offsets):
        for voxel in np.ndindex(shape):
            other = tuple(v + o for v, o in zip(voxel, offset, strict=True))
            thinned = sum(map(abs, offset)) > 1 and any(v % s for v, s in zip(voxel, strides, strict=True))
            weight = values_EZYX[(channel, *voxel)] + bias[channel]
            if voxel in cluster and other in cluster and not thinned and weight != 0:
                edges.append((-abs(weight), channel, voxel, other, weight > 0))
    for _, _, a, b, attractive in sorted(edges):
        if cluster[a] is cluster[b]:
            continue
        if not attractive:
            excludes.add((a, b))
        elif not exclude_each_other(cluster[a], cluster[b]):
            unite(a, b)
    labels = np.zeros(shape, np.int64)
    names = {}
    for voxel in np.ndindex(shape):
        if voxel in cluster:
            labels[voxel] = names.setdefault(id(cluster[voxel]), len(names) + 1)
    return labels
