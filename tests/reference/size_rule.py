"""zwatershed's merging as its paper explains it: one look at every edge, best first; small regions unite."""


def merge_by_size(edges, sizes, size, weight, dust, affinity):
    """{node: smallest node of its region, or 0}. edges: {(a, b): [(face, code), …]}; affinity(faces) rates an edge."""
    regions = {node: {node} for node in sizes}
    rated = sorted((-affinity(faces), max(face for face, _ in faces), pair) for pair, faces in edges.items())
    for negative, _, (a, b) in rated:
        if -negative < weight:
            break
        if regions[a] is regions[b]:
            continue
        voxels = [sum(sizes[node] for node in regions[end]) for end in (a, b)]
        if min(voxels) < size:
            both = regions[a] | regions[b]
            for node in both:
                regions[node] = both
    return {node: 0 if sum(sizes[n] for n in region) < dust else min(region) for node, region in regions.items()}
