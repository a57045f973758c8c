// The region graph: one edge per pair of touching fragments, with what its faces say in integers, so that partial
// graphs of parts of a volume add up exactly.
#pragma once
#include <algorithm>
#include <vector>

#include "edge_table.hpp"
#include "faces.hpp"
#include "parallel.hpp"
#include "scores.hpp"

namespace neuropil {

// Calls see(axis, upper voxel, lower label, upper label) for every face inside the volume that joins two different
// regions and whose upper voxel lies in the box. Labels may be those of a part of the volume: labels[0] is voxel
// `first`.
template <class Label, class See>
void each_boundary_face(const Shape& shape, const Label* labels, const std::array<int64_t, 3>& stride,
                        const std::array<int64_t, 3>& first, const Box& box, const Run& run, See&& see) {
    const auto whole = shape.strides();
    const int64_t x0 = box.start[X], n = box.stop[X] - x0;
    std::vector<int64_t> found(std::max<int64_t>(0, n));
    // Boundaries come irregularly: they are noted without a branch first.
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

// Adds the faces whose upper voxel lies in the box to the table of edges between their labels.
template <class Score, class Label>
void scan_faces(const AnyFaces& faces, const Label* labels, const std::array<int64_t, 3>& stride,
                const std::array<int64_t, 3>& first, const uint32_t* value, const Box& box, Score& score,
                EdgeTable<Edge<Score, Label>, Label>& table, const Run& run) {
    using Index = typename Score::Index;
    const auto whole = faces.shape.strides();
    Label seen_a[3] = {0, 0, 0}, seen_b[3] = {0, 0, 0};
    uint32_t seen_at[3] = {0, 0, 0};
    each_boundary_face(faces.shape, labels, stride, first, box, run, [&](int axis, int64_t voxel, Label a, Label b) {
        if (seen_a[axis] != a || seen_b[axis] != b) {
            seen_a[axis] = a, seen_b[axis] = b;
            seen_at[axis] = table(a, b);
        }
        const uint16_t code = faces.at(axis, voxel);
        const Index key = Index(3 * (voxel - whole[axis]) + axis);
        score.add_face(table.edges()[seen_at[axis]].stats, code, value[code], key);
        score.record(seen_at[axis], code);
    });
}

// Everything a user may want to know of an edge, as a score that nothing is compared by.
template <class I>
struct Summary {
    using Index = I;
    struct Stats {
        uint64_t sum = 0;
        Index count = 0, key = 0;
        uint16_t max = 0, min = 0xffff;
    };

    explicit Summary(int = 0, int = 0) {}

    static void add_face(Stats& stats, uint16_t code, uint32_t value, Index key) {
        pool(stats, {value, 1, key, code, code});
    }
    static void pool(Stats& into, const Stats& other) {
        into.sum += other.sum;
        into.count += other.count;
        into.key = std::max(into.key, other.key);
        into.max = std::max(into.max, other.max);
        into.min = std::min(into.min, other.min);
    }
    static void record(Index, uint16_t) {}
    template <class Edges>
    static void finish(Edges&) {}
    static Stats adopt(const Summary&, const Stats& stats) { return stats; }
};

// The faces whose upper voxel lies in the box, pooled; edges ordered by (a, b). Arrays hold the box and the voxels
// around it that they know; keys count in them.
template <class Score>
std::vector<Edge<Score>> part_graph(const AnyFaces& faces, const typename Score::Index* fragments,
                                    const uint32_t* value, const Box& box, Score& score, const Run& run) {
    EdgeTable<Edge<Score>, typename Score::Index> table;
    scan_faces(faces, fragments, faces.shape.strides(), {0, 0, 0}, value, box, score, table, run);
    score.finish(table.edges());
    auto& edges = table.edges();
    sort_checked(run, edges.begin(), edges.end(),
                 [](const auto& e, const auto& f) { return e.a != f.a ? e.a < f.a : e.b < f.b; });
    return std::move(edges);
}

// The whole graph, edges ordered by (a, b).
template <class Score>
std::vector<Edge<Score>> region_graph(const AnyFaces& faces, const typename Score::Index* fragments,
                                      const uint32_t* value, Score& score, const Run& run) {
    using Index = typename Score::Index;
    const Shape& shape = faces.shape;
    const int64_t pieces = std::max<int64_t>(1, std::min<int64_t>(run.threads, shape.z));
    std::vector<EdgeTable<Edge<Score>, Index>> tables(pieces);
    std::vector<Score> scores(pieces, score);
    parallel_for(
        run, pieces,
        [&](int64_t p) {
            const Box box{{shape.z * p / pieces, 0, 0}, {shape.z * (p + 1) / pieces, shape.y, shape.x}};
            scan_faces(faces, fragments, shape.strides(), {0, 0, 0}, value, box, scores[p], tables[p], run);
            scores[p].finish(tables[p].edges());
        },
        "scan faces");
    score = std::move(scores[0]);
    for (int64_t p = 1; p < pieces; ++p) {
        for (size_t e = 0; e < tables[p].edges().size(); ++e) {
            if (e % 65536 == 0) run.check();
            const auto& edge = tables[p].edges()[e];
            const size_t known = tables[0].edges().size(), at = tables[0](edge.a, edge.b);
            const auto stats = score.adopt(scores[p], edge.stats);
            if (at == known)
                tables[0].edges()[at].stats = stats;
            else
                score.pool(tables[0].edges()[at].stats, stats);
        }
        tables[p] = EdgeTable<Edge<Score>, Index>();
    }
    auto& edges = tables[0].edges();
    sort_checked(run, edges.begin(), edges.end(),
                 [](const auto& e, const auto& f) { return e.a != f.a ? e.a < f.a : e.b < f.b; });
    return std::move(edges);
}

}  // namespace neuropil
