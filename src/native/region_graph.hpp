// The region graph: one edge per pair of touching fragments, with integer statistics of its faces, so that graphs of
// parts of a volume add up exactly.
#pragma once
#include <algorithm>
#include <bit>
#include <vector>

#include "edge_table.hpp"
#include "faces.hpp"
#include "parallel.hpp"
#include "piece_edges.hpp"
#include "scores.hpp"

namespace neuropil {

// A grid of boxes over a volume.
class Grid {
  public:
    Grid(const Shape& shape, std::array<int64_t, 3> block) : extent_{shape.z, shape.y, shape.x}, block_(block) {
        for (int axis : {Z, Y, X}) count_[axis] = std::max<int64_t>(1, (extent_[axis] + block[axis] - 1) / block[axis]);
    }

    int64_t size() const { return count_[Z] * count_[Y] * count_[X]; }

    Box box(int64_t i) const {
        const std::array<int64_t, 3> at{i / (count_[Y] * count_[X]), i / count_[X] % count_[Y], i % count_[X]};
        Box box;
        for (int axis : {Z, Y, X}) {
            box.start[axis] = at[axis] * block_[axis];
            box.stop[axis] = std::min(extent_[axis], box.start[axis] + block_[axis]);
        }
        return box;
    }

  private:
    std::array<int64_t, 3> extent_, block_, count_;
};

// Calls see(axis, upper voxel, lower label, upper label) for every face inside the volume that joins two different
// regions and whose upper voxel lies in the box. Labels may be those of a part of the volume: labels[0] is voxel
// `first`.
template <class Label, class See>
void each_boundary_face(const Shape& shape, const Label* labels, const std::array<int64_t, 3>& stride,
                        const std::array<int64_t, 3>& first, const Box& box, const Run& run, See&& see) {
    const auto whole = shape.strides();
    const int64_t x0 = box.start[X], n = box.stop[X] - x0;
    std::vector<int64_t> found(std::max<int64_t>(0, n));
    // Boundaries are hard to predict for the CPU, so their positions are first collected without a branch.
    auto see_row = [&](int axis, int64_t voxel, const Label* low, const Label* high, int64_t from) {
        size_t count = 0;
        for (int64_t i = from; i < n; ++i) {
            found[count] = i;
            count += (low[i] != high[i]) & (low[i] != 0) & (high[i] != 0);
        }
        for (size_t k = 0; k < count; ++k) see(axis, voxel + found[k], low[found[k]], high[found[k]]);
    };
    for (int64_t z = box.start[Z]; z < box.stop[Z]; ++z) {
        run.check();
        for (int64_t y = box.start[Y]; y < box.stop[Y]; ++y) {
            const int64_t voxel = z * whole[Z] + y * whole[Y] + x0;
            const Label* row = labels + (z - first[Z]) * stride[Z] + (y - first[Y]) * stride[Y] + (x0 - first[X]);
            see_row(X, voxel, row - 1, row, x0 > 0 ? 0 : 1);
            if (y > 0) see_row(Y, voxel, row - stride[Y], row, 0);
            if (z > 0) see_row(Z, voxel, row - stride[Z], row, 0);
        }
    }
}

// A small cache of the last pairs of labels and their edges. Boundaries continue from row to row and from section to
// section, so most look-ups hit it and do not reach the large table.
template <class Label>
class RecentPairs {
  public:
    explicit RecentPairs(int64_t faces)
        : shift_(64 - std::clamp<int>(std::bit_width(uint64_t(faces)) - 5, 4, 12)),
          seen_(size_t(1) << (64 - shift_), {0, 0, 0}) {}

    // The result of `look_up(a, b)`, cached; a < b, neither of them 0.
    template <class LookUp>
    uint32_t operator()(Label a, Label b, LookUp&& look_up) {
        Seen& seen = seen_[(a * 0x9e3779b97f4a7c15ull + b * 0xc2b2ae3d27d4eb4full) >> shift_];
        if (seen.a != a || seen.b != b) seen = {a, b, look_up(a, b)};
        return seen.found;
    }

  private:
    struct Seen {
        Label a, b;
        uint32_t found;
    };

    const int shift_;
    std::vector<Seen> seen_;
};

// Adds the faces whose upper voxel lies in the box to the table of edges between their labels.
template <class Score, class Label>
void scan_faces(const AnyFaces& faces, const Label* labels, const std::array<int64_t, 3>& stride,
                const std::array<int64_t, 3>& first, const uint32_t* value, const Box& box, Score& score,
                EdgeTable<Edge<Score, Label>, Label>& table, const Run& run) {
    using Index = typename Score::Index;
    const auto whole = faces.shape.strides();
    RecentPairs<Label> recent((box.stop[Z] - box.start[Z]) * (box.stop[Y] - box.start[Y]) *
                              (box.stop[X] - box.start[X]));
    auto see = [&](int axis, int64_t voxel, Label low, Label high) {
        const uint32_t at = recent(std::min(low, high), std::max(low, high), table);
        const uint16_t code = faces.at(axis, voxel);
        const Index key = Index(3 * (voxel - whole[axis]) + axis);
        score.add_face(table.edges()[at].stats, at, code, value[code], key);
    };
    each_boundary_face(faces.shape, labels, stride, first, box, run, see);
}

constexpr int64_t VOXELS_PER_EDGE = 13;  // a block of 32 x 16 x 256 voxels stands for 10,000 edges

// The edges whose faces have their upper voxel in the box, in the order in which they are met.
template <class Score>
Part<Score> scan_block(const AnyFaces& faces, const typename Score::Index* fragments, const uint32_t* value,
                       const Box& box, const Score& score, const Run& run) {
    using Index = typename Score::Index;
    int64_t voxels = 1;
    for (int axis : {Z, Y, X}) voxels *= box.stop[axis] - box.start[axis];
    Part<Score> part{score, {}};
    EdgeTable<Edge<Score>, Index> table{size_t(voxels / VOXELS_PER_EDGE)};
    scan_faces(faces, fragments, faces.shape.strides(), {0, 0, 0}, value, box, part.score, table, run);
    part.score.finish(table.edges());
    part.edges.assign(table.edges().begin(), table.edges().end());  // without spare capacity
    return part;
}

struct ByEnds {
    template <class Edge>
    bool operator()(const Edge& e, const Edge& f) const {
        return e.a != f.a ? e.a < f.a : e.b < f.b;
    }
};

// All statistics of an edge, as a score type that is never used for comparison.
template <class I>
struct Summary {
    using Index = I;
    struct Stats {
        uint64_t sum = 0;
        Index count = 0, key = 0;
        uint16_t max = 0, min = 0xffff;
    };

    explicit Summary(int = 0, int = 0) {}

    static void add_face(Stats& stats, uint32_t, uint16_t code, uint32_t value, Index key) {
        pool(stats, {value, 1, key, code, code});
    }
    static void pool(Stats& into, const Stats& other) {
        into.sum += other.sum;
        into.count += other.count;
        into.key = std::max(into.key, other.key);
        into.max = std::max(into.max, other.max);
        into.min = std::min(into.min, other.min);
    }
    template <class Edges>
    static void finish(Edges&) {}
    static Stats adopt(const Summary&, const Stats& stats) { return stats; }
    static Summary empty() { return Summary(); }
};

// The region graph of faces whose upper voxel lies in the box, ordered by (a, b). Arrays hold the box and a halo; keys
// are face indices of these arrays.
template <class Score>
std::vector<Edge<Score>> part_graph(const AnyFaces& faces, const typename Score::Index* fragments,
                                    const uint32_t* value, const Box& box, Score& score, const Run& run) {
    EdgeTable<Edge<Score>, typename Score::Index> table;
    scan_faces(faces, fragments, faces.shape.strides(), {0, 0, 0}, value, box, score, table, run);
    score.finish(table.edges());
    auto& edges = table.edges();
    sort_checked(run, edges.begin(), edges.end(), ByEnds());
    return std::move(edges);
}

// The edges of some ranges of parts: each pair once, ordered by (a, b). All bits of a but the last are the same.
template <class Score>
Part<Score> pool_ranges(const std::vector<Part<Score>>& parts, const std::vector<EdgeRange>& ranges, int last_bits,
                        const Score& score, const Run& run) {
    Part<Score> all{score, {}};
    run.check();
    for (const auto& [p, begin, end] : ranges)
        for (uint32_t e = begin; e < end; ++e) {
            const auto& edge = parts[p].edges[e];
            all.edges.push_back({edge.a, edge.b, all.score.adopt(parts[p].score, edge.stats)});
        }
    const size_t labels = size_t(1) << last_bits;
    auto label = [&](const Edge<Score>& edge) { return uint32_t(edge.a & (labels - 1)); };
    for (const auto& [a, begin, end] : sort_by_piece(all.edges, 0, labels, label))
        sort_checked(run, all.edges.begin() + begin, all.edges.begin() + end, ByEnds());
    size_t kept = 0;
    for (size_t e = 1; e < all.edges.size(); ++e) {
        auto& pair = all.edges[kept];
        if (pair.a == all.edges[e].a && pair.b == all.edges[e].b)
            all.score.pool(pair.stats, all.edges[e].stats);
        else
            all.edges[++kept] = all.edges[e];
    }
    if (!all.edges.empty()) all.edges.resize(kept + 1);
    return all;
}

// The whole graph, edges ordered by (a, b): blocks are scanned, then their edges are pooled by ranges of labels, on all
// threads. The edges of one range should fit into a cache.
template <class Score>
std::vector<Edge<Score>> region_graph(const AnyFaces& faces, const typename Score::Index* fragments,
                                      const uint32_t* value, Score& score, const Run& run) {
    using Index = typename Score::Index;
    const Grid grid(faces.shape, {32, 16, 256});
    std::vector<Part<Score>> parts(grid.size(), Part<Score>{score, {}});
    std::vector<Index> last(parts.size(), 0);
    auto scan = [&](int64_t i) {
        parts[i] = scan_block(faces, fragments, value, grid.box(i), score, run);
        for (const auto& edge : parts[i].edges) last[i] = std::max(last[i], edge.a);
    };
    parallel_for(run, grid.size(), scan, "scan blocks");
    const Index largest = *std::max_element(last.begin(), last.end());
    const int shift = std::max(0, int(std::bit_width(largest)) - 8);
    std::vector<std::vector<PieceEdges>> found(parts.size());
    auto distribute = [&](int64_t i) {
        auto range = [&](const Edge<Score>& edge) { return uint32_t(edge.a >> shift); };
        found[i] = sort_by_piece(parts[i].edges, 0, size_t(largest >> shift) + 1, range);
    };
    parallel_for(run, grid.size(), distribute, "distribute");
    std::vector<std::vector<EdgeRange>> ranges(size_t(largest >> shift) + 1);
    for (uint32_t p = 0; p < parts.size(); ++p)
        for (const auto& [range, begin, end] : found[p]) ranges[range].push_back({p, begin, end});
    std::vector<Part<Score>> pooled(ranges.size(), Part<Score>{score, {}});
    auto pool = [&](int64_t r) { pooled[r] = pool_ranges(parts, ranges[r], shift, score, run); };
    parallel_for(run, int64_t(ranges.size()), pool, "pool edges");
    std::vector<Part<Score>>().swap(parts);
    size_t count = 0;
    for (const auto& part : pooled) count += part.edges.size();
    std::vector<Edge<Score>> edges;
    edges.reserve(count);
    for (auto& part : pooled) {
        run.check();
        for (const auto& edge : part.edges) edges.push_back({edge.a, edge.b, score.adopt(part.score, edge.stats)});
        part = Part<Score>{score.empty(), {}};
    }
    return edges;
}

}  // namespace neuropil
