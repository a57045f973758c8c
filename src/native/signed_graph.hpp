// Graphs of fragments with signed edges of any offset, and their clustering (GASP: Bailoni et al. 2022; Wolf et al.
// 2018).
#pragma once
#include <compare>
#include <cstdlib>
#include <utility>
#include <vector>

#include "agglomerate.hpp"
#include "mutex_sweep.hpp"

namespace neuropil {

// The place of an edge in the sweep of the mutex watershed; different for all edges of a volume.
struct SweepPlace {
    static constexpr uint32_t NEVER = uint32_t(-1);

    uint32_t rank = NEVER;
    uint64_t voxel = uint64_t(-1);

    auto operator<=>(const SweepPlace&) const = default;
};

// Statistics of all edges between two clusters: sum, count, and the edge that comes first.
struct SignedStats {
    int64_t sum = 0;
    uint64_t count = 0;
    SweepPlace key;
    bool repulsive = false;  // the first one
    bool barred = false;     // the two exclude each other

    void pool(const SignedStats& other) {
        sum += other.sum;
        count += other.count;
        barred = barred || other.barred;
        if (other.key < key) key = other.key, repulsive = other.repulsive;
    }
};

// The strongest edge decides, its sign between two equal strengths by place in the sweep: the mutex watershed.
struct AbsMaxLinkage {
    using Index = uint64_t;
    using Stats = SignedStats;
    static constexpr bool EXCLUDES = true;

    static void pool(Stats& into, const Stats& other) { into.pool(other); }
    static bool same(const Stats& a, const Stats& b) { return a.key == b.key; }
    static int compare(const Stats&, const Stats&) { return 0; }  // the key alone decides
    static uint64_t level(const Stats& stats) {
        return stats.key.rank > SignedEdges<uint8_t>::TOP ? 0 : SignedEdges<uint8_t>::TOP - stats.key.rank;
    }
    static bool attracts(const Stats& stats) { return stats.key.rank != SweepPlace::NEVER && !stats.repulsive; }
    static Stats adopt(const AbsMaxLinkage&, const Stats& stats) { return stats; }
};

// The mean decides: the largest first, or (CONSTRAINED) the one farthest from 0, and a negative one excludes for good.
template <bool CONSTRAINED>
struct MeanLinkage {
    using Index = uint64_t;
    using Stats = SignedStats;
    static constexpr bool EXCLUDES = CONSTRAINED;

    static void pool(Stats& into, const Stats& other) { into.pool(other); }
    static bool same(const Stats& a, const Stats& b) { return a.count == b.count; }
    static int compare(const Stats& a, const Stats& b) {
        const __int128 left = __int128(rated(a)) * b.count, right = __int128(rated(b)) * a.count;
        return left > right ? 1 : left < right ? -1 : 0;
    }
    static uint64_t level(const Stats& stats) { return uint64_t(std::max<int64_t>(0, rated(stats))) / stats.count; }
    static bool attracts(const Stats& stats) { return stats.sum > 0; }
    static Stats adopt(const MeanLinkage&, const Stats& stats) { return stats; }

  private:
    static int64_t rated(const Stats& stats) { return CONSTRAINED ? std::abs(stats.sum) : stats.sum; }
};

// A part of a volume with affinity channels of any reach. Labels and codes cover the same voxels, of which the first is
// `origin` in the volume; edges stored in `core` are this part's.
template <class Code>
struct SignedVolume {
    Shape shape, whole;
    std::array<int64_t, 3> origin{}, strides{1, 1, 1};
    Box core;
    std::vector<const Code*> channels;
    std::vector<std::array<int64_t, 3>> offsets;
    const uint32_t* rank;   // [channel, code], as SignedEdges has them
    const int64_t* weight;  // [channel, code], in fixed point
    size_t codes;
    const uint64_t* labels;
};

// Adds the edges of one channel stored in one row.
template <class Code, class Table>
void scan_signed_row(const SignedVolume<Code>& volume, size_t channel, int64_t z, int64_t y, Table& table) {
    constexpr uint32_t REPULSIVE = SignedEdges<Code>::REPULSIVE;
    const auto& o = volume.offsets[channel];
    const Shape& shape = volume.shape;
    if (z + o[Z] < 0 || z + o[Z] >= shape.z || y + o[Y] < 0 || y + o[Y] >= shape.y) return;
    const bool thinned = std::abs(o[Z]) + std::abs(o[Y]) + std::abs(o[X]) > 1;
    const int64_t gz = z + volume.origin[Z], gy = y + volume.origin[Y];
    if (thinned && (gz % volume.strides[Z] || gy % volume.strides[Y])) return;
    const auto stride = shape.strides();
    const int64_t row = z * stride[Z] + y * stride[Y], delta = o[Z] * stride[Z] + o[Y] * stride[Y] + o[X];
    const uint64_t first = (uint64_t(gz) * volume.whole.y + gy) * volume.whole.x + volume.origin[X];
    const int64_t begin = std::max(volume.core.start[X], -o[X]), end = std::min(volume.core.stop[X], shape.x - o[X]);
    const Code* codes = volume.channels[channel] + row;
    const uint64_t *here = volume.labels + row, *there = here + delta;
    uint64_t last_a = 0, last_b = 0;
    uint32_t at = 0;
    for (int64_t x = begin; x < end; ++x) {
        if (thinned && (x + volume.origin[X]) % volume.strides[X]) continue;
        if (here[x] == there[x] || !here[x] || !there[x]) continue;
        if (here[x] != last_a || there[x] != last_b) at = table(last_a = here[x], last_b = there[x]);
        const size_t entry = channel * volume.codes + codes[x];
        const uint32_t rank = volume.rank[entry];
        const bool never = rank == SignedEdges<Code>::NEVER;
        const SweepPlace place = never ? SweepPlace() : SweepPlace{rank & ~REPULSIVE, first + uint64_t(x)};
        table.edges()[at].stats.pool({volume.weight[entry], 1, place, !never && (rank & REPULSIVE), false});
    }
}

using SignedEdge = Edge<AbsMaxLinkage>;

// Pairs of fragments that an edge joins, ordered by (a, b).
template <class Code>
std::vector<SignedEdge> signed_graph(const SignedVolume<Code>& volume, const Run& run) {
    const Box& core = volume.core;
    const int64_t slices = core.stop[Z] - core.start[Z],
                  pieces = std::max<int64_t>(1, std::min<int64_t>(run.threads, slices));
    std::vector<EdgeTable<SignedEdge, uint64_t>> tables(pieces);
    parallel_for(run, pieces, [&](int64_t p) {
        for (int64_t z = core.start[Z] + slices * p / pieces; z < core.start[Z] + slices * (p + 1) / pieces; ++z)
            for (int64_t y = core.start[Y]; y < core.stop[Y]; ++y) {
                run.check();
                for (size_t e = 0; e < volume.channels.size(); ++e) scan_signed_row(volume, e, z, y, tables[p]);
            }
    });
    for (int64_t p = 1; p < pieces; ++p) {
        each_chunk(run, int64_t(tables[p].edges().size()), [&](int64_t begin, int64_t end) {
            for (int64_t e = begin; e < end; ++e) {
                const auto& edge = tables[p].edges()[e];
                tables[0].edges()[tables[0](edge.a, edge.b)].stats.pool(edge.stats);
            }
        });
        tables[p] = EdgeTable<SignedEdge, uint64_t>();
    }
    auto& edges = tables[0].edges();
    sort_checked(run, edges.begin(), edges.end(),
                 [](const auto& e, const auto& f) { return e.a != f.a ? e.a < f.a : e.b < f.b; });
    return std::move(edges);
}

// The cluster of each node, named by its smallest node. Edges may name a pair of nodes more than once.
template <class Score>
std::vector<uint32_t> cluster_signed(size_t nodes, std::vector<LocalEdge<Score>> edges, uint64_t top, const Run& run) {
    Score score;
    MergingGraph<Score> graph(nodes, std::move(edges), score, run);
    EdgeQueue<Score> queue(graph, top);
    Names<uint32_t> names(uint32_t(nodes - 1));
    auto skip = [](const LocalEdge<Score>& edge) { return edge.stats.barred; };
    queue.fill(run, skip);
    for (uint32_t e, step = 0; (e = queue.pop(skip)) != EdgeQueue<Score>::NONE; ++step) {
        if (step % 4096 == 0) run.check();
        const auto edge = graph.edge(e);
        if (edge.stats.barred) continue;
        if (!Score::attracts(edge.stats)) {
            if (!Score::EXCLUDES) break;
            graph.stats(e).barred = true;  // the edge stays, out of the queue, and bars what it is pooled with
            continue;
        }
        const uint32_t a = names.find(edge.a), b = names.find(edge.b);
        names.unite(std::min(a, b), std::max(a, b));
        graph.contract(e);
    }
    std::vector<uint32_t> cluster(nodes);
    for (uint32_t i = 0; i < nodes; ++i) cluster[i] = names.find(i);
    return cluster;
}

}  // namespace neuropil
