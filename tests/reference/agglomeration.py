"""Greedy merging as one would explain it: look at all edges, take the best, pool, begin again."""

from fractions import Fraction


def mean(faces, table):
    return Fraction(sum(int(table[code]) for _, code in faces), len(faces))


def largest(faces, table):
    return max(code for _, code in faces)


def smallest(faces, table):
    return min(code for _, code in faces)


def quantile(percent):
    def of(faces, table):
        rank = min(len(faces), len(faces) * percent // 100 + 1)
        return sorted(code for _, code in faces)[rank - 1]

    return of


SCORES = {"mean": mean, "max": largest, "min": smallest} | {f"q{n}": quantile(n) for n in (0, 25, 50, 85, 100)}


def key(faces):
    """Of two edges of equal score the one whose largest face index is smaller is better."""
    return max(face for face, _ in faces)


def best(edges, score, table):
    return max(edges, key=lambda pair: (score(edges[pair], table), -key(edges[pair])))


def join(edges, a, b, into):
    """The graph after regions a and b have become one, pooling what they had in common."""
    after = {}
    for pair, faces in edges.items():
        p, q = (into if r in (a, b) else r for r in pair)
        if p != q:
            after.setdefault((min(p, q), max(p, q)), []).extend(faces)
    return after


def agglomerate(edges, score, table):
    """[(a, b, score), …]: regions are named by their smallest fragment."""
    merges = []
    while edges:
        a, b = best(edges, score, table)
        merges.append((a, b, score(edges[a, b], table)))
        edges = join(edges, a, b, into=a)
    return merges


def segments(fragments, merges, threshold):
    """{fragment: name of its region} when all merges that reach the threshold are made."""
    name = {f: f for f in fragments}
    for a, b, score in merges:
        if score >= threshold:
            name = {f: a if n == b else n for f, n in name.items()}
    return name


def absorb_small(name, sizes, edges, score, table, min_size):
    """The smallest region joins its best neighbour until none is too small; without neighbours it becomes 0."""
    for a, b in list(edges):
        if name[a] != name[b]:
            continue
        edges = {pair: faces for pair, faces in edges.items() if pair != (a, b)}
    pooled = {}
    for (a, b), faces in edges.items():
        pair = tuple(sorted((name[a], name[b])))
        pooled.setdefault(pair, []).extend(faces)
    size = {}
    for fragment, region in name.items():
        size[region] = size.get(region, 0) + sizes[fragment]
    while any(n < min_size for n in size.values()):
        small = min(size, key=lambda region: (size[region], region))
        around = {pair: faces for pair, faces in pooled.items() if small in pair}
        if not around:
            name = {f: 0 if n == small else n for f, n in name.items()}
            del size[small]
            continue
        a, b = best(around, score, table)
        pooled = join(pooled, a, b, into=a)
        size[a] += size.pop(b)
        name = {f: a if n == b else n for f, n in name.items()}
    return name
