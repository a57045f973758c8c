"""The watershed of Zlateski and Seung with its plateaus, as one would explain it."""

import numpy as np

STEPS = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (1, 0, 0), (0, 1, 0), (0, 0, 1))


def moved(voxel, step):
    return tuple(v + s for v, s in zip(voxel, step, strict=True))


def basins(affinities, low, high, scan):
    """Labels from 1 in the order of the scan."""
    shape = affinities.shape[1:]
    voxels = list(np.ndindex(shape))
    if scan == "xyz":
        voxels.sort(key=lambda voxel: voxel[::-1])
    ways = {voxel: best_ways(affinities, voxel, np.float32(low), np.float32(high)) for voxel in voxels}

    def mutual(voxel, step):
        return tuple(-s for s in step) in ways[moved(voxel, step)]

    # Plateaus with an exit are left by it, the nearest voxels first.
    queue = [v for v in voxels if any(not mutual(v, step) for step in ways[v])]
    reached = set(queue)
    for voxel in queue:  # grows
        inside = [step for step in ways[voxel] if mutual(voxel, step)]
        exits = [step for step in ways[voxel] if step not in inside]
        new = [other for step in inside if (other := moved(voxel, step)) not in reached]
        queue += new
        reached.update(new)
        ways[voxel] = exits[-1:]

    labels = np.zeros(shape, int)
    for start in voxels:
        if not ways[start] or labels[start]:
            continue
        path = [start]
        for voxel in path:  # grows
            path += [other for step in ways[voxel] if (other := moved(voxel, step)) not in path]
        known = {labels[voxel] for voxel in path} - {0}
        label = known.pop() if known else labels.max() + 1
        for voxel in path:
            labels[voxel] = labels[voxel] or label
    return labels


def best_ways(affinities, voxel, low, high):
    faces = {}
    for number, step in enumerate(STEPS):
        other = moved(voxel, step)
        if all(0 <= o < n for o, n in zip(other, affinities.shape[1:], strict=True)):
            faces[step] = affinities[(number % 3, *(voxel if number < 3 else other))]
    best = max(faces.values(), default=low)
    return [step for step, value in faces.items() if best > low and (value == best or value >= high)]
