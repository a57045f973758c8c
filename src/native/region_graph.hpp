// The region graph: one edge per pair of touching fragments, with what its faces say in integers, so that partial
// graphs of parts of a volume add up exactly.
#pragma once
#include <algorithm>
#include <vector>

#include "faces.hpp"
#include "parallel.hpp"

namespace neuropil {

// What an edge knows of its faces. `sum` adds fixed-point values; `key` is the largest face index among them, so that
// adding partials and pooling edges are one operation and ties never depend on the order of work.
template <class Index>
struct Faceted {
    uint64_t sum = 0;
    Index count = 0, key = 0;
    uint16_t max = 0, min = 0xffff;

    void add(const Faceted& other) {
        sum += other.sum;
        count += other.count;
        key = std::max(key, other.key);
        max = std::max(max, other.max);
        min = std::min(min, other.min);
    }
};

template <class Index>
struct Edge {
    Index a, b;  // a < b
    Faceted<Index> faces;
};

inline uint64_t mix(uint64_t a, uint64_t b) {
    uint64_t h = (a * 0x9e3779b97f4a7c15ull) ^ (b * 0xc2b2ae3d27d4eb4full);
    h ^= h >> 29;
    h *= 0xbf58476d1ce4e5b9ull;
    return h ^ (h >> 32);
}

// Edges found by their two ends: an open-addressing table of positions in a growing list.
template <class Index>
class EdgeTable {
  public:
    EdgeTable() : slots_(1024, EMPTY) {}

    // The position of this edge in edges(), made when it is new.
    size_t operator()(Index a, Index b) {
        if (a > b) std::swap(a, b);
        size_t slot = mix(a, b) & (slots_.size() - 1);
        for (; slots_[slot] != EMPTY; slot = (slot + 1) & (slots_.size() - 1)) {
            const Edge<Index>& edge = edges_[slots_[slot]];
            if (edge.a == a && edge.b == b) return slots_[slot];
        }
        slots_[slot] = Index(edges_.size());
        edges_.push_back({a, b, {}});
        if (edges_.size() * 2 > slots_.size()) grow();
        return edges_.size() - 1;
    }

    std::vector<Edge<Index>>& edges() { return edges_; }

  private:
    static constexpr Index EMPTY = Index(-1);

    void grow() {
        slots_.assign(slots_.size() * 2, EMPTY);
        for (size_t i = 0; i < edges_.size(); ++i) {
            size_t slot = mix(edges_[i].a, edges_[i].b) & (slots_.size() - 1);
            while (slots_[slot] != EMPTY) slot = (slot + 1) & (slots_.size() - 1);
            slots_[slot] = Index(i);
        }
    }

    std::vector<Index> slots_;
    std::vector<Edge<Index>> edges_;
};

template <class Index>
void add(EdgeTable<Index>& table, const Edge<Index>& edge) {
    const size_t at = table(edge.a, edge.b);
    table.edges()[at].faces.add(edge.faces);
}

// Adds the faces whose upper voxel lies in these rows.
template <class Code, class Index>
void scan_rows(const Faces<Code>& faces, const Index* fragments, const uint32_t* value, int64_t first, int64_t last,
               EdgeTable<Index>& table, const Run& run) {
    const Shape& shape = faces.shape;
    const auto stride = shape.strides();
    Index seen_a[3] = {0, 0, 0}, seen_b[3] = {0, 0, 0};
    size_t seen_at[3] = {0, 0, 0};
    for (int64_t row = first; row < last; ++row) {
        run.check();
        const bool inside[3] = {row >= shape.y, row % shape.y != 0, true};
        for (int64_t x = 0, v = row * shape.x; x < shape.x; ++x, ++v) {
            const Index b = fragments[v];
            if (!b) continue;
            for (int axis : {Z, Y, X}) {
                if (!inside[axis] || (axis == X && x == 0)) continue;
                const int64_t lower = v - stride[axis];
                const Index a = fragments[lower];
                if (a == b || !a) continue;
                if (seen_a[axis] != a || seen_b[axis] != b) {
                    seen_a[axis] = a, seen_b[axis] = b;
                    seen_at[axis] = table(a, b);
                }
                const uint16_t code = faces.at(axis, v);
                table.edges()[seen_at[axis]].faces.add({value[code], 1, Index(3 * lower + axis), code, code});
            }
        }
    }
}

// The whole graph, edges ordered by (a, b).
template <class Code, class Index>
std::vector<Edge<Index>> region_graph(const Faces<Code>& faces, const Index* fragments, const uint32_t* value,
                                      const Run& run) {
    const int64_t rows = faces.shape.rows();
    const int64_t pieces = std::max<int64_t>(1, std::min<int64_t>(run.threads, rows));
    std::vector<EdgeTable<Index>> tables(pieces);
    parallel_for(run, pieces, [&](int64_t p) {
        scan_rows(faces, fragments, value, rows * p / pieces, rows * (p + 1) / pieces, tables[p], run);
    });
    for (int64_t p = 1; p < pieces; ++p) {
        for (const auto& edge : tables[p].edges()) add(tables[0], edge);
        tables[p] = {};
    }
    auto& edges = tables[0].edges();
    std::sort(edges.begin(), edges.end(),
              [](const auto& e, const auto& f) { return e.a != f.a ? e.a < f.a : e.b < f.b; });
    return std::move(edges);
}

}  // namespace neuropil
