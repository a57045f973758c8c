// Slow and obvious versions of the kernels, for small volumes.
#pragma once
#include <map>
#include <set>
#include <tuple>

#include "mutex_watershed.hpp"
#include "signed_graph.hpp"

namespace slow {

using namespace neuropil;

template <class Stats>
using Graph = std::map<std::pair<uint32_t, uint32_t>, Stats>;

inline std::array<int64_t, 3> place_of(const Shape& shape, int64_t v) {
    return {v / (shape.y * shape.x), v / shape.x % shape.y, v % shape.x};
}

// The voxel at an offset, or -1 outside the volume.
inline int64_t at_offset(const Shape& shape, int64_t v, const std::array<int64_t, 3>& offset) {
    const auto [z, y, x] = place_of(shape, v);
    const int64_t c = z + offset[Z], b = y + offset[Y], a = x + offset[X];
    if (c < 0 || c >= shape.z || b < 0 || b >= shape.y || a < 0 || a >= shape.x) return -1;
    return (c * shape.y + b) * shape.x + a;
}

template <class Stats, class Score>
void add(Graph<Stats>& graph, Score& score, uint32_t a, uint32_t b, const Stats& stats) {
    const auto [known, added] = graph.insert({std::minmax(a, b), stats});
    if (!added) score.pool(known->second, stats);
}

// The graph in which b has become a.
template <class Stats, class Score>
Graph<Stats> contracted(const Graph<Stats>& graph, Score& score, uint32_t a, uint32_t b) {
    Graph<Stats> left;
    for (const auto& [ends, stats] : graph) {
        const uint32_t p = ends.first == b ? a : ends.first, q = ends.second == b ? a : ends.second;
        if (p != q) add(left, score, p, q, stats);
    }
    return left;
}

// The faces between each two fragments: codes, and indices.
inline Graph<std::vector<std::pair<uint8_t, uint32_t>>> region_graph(const Faces<uint8_t>& faces,
                                                                     const std::vector<uint32_t>& labels) {
    Graph<std::vector<std::pair<uint8_t, uint32_t>>> graph;
    const auto stride = faces.shape.strides();
    for (int64_t v = 0; v < faces.shape.size(); ++v)
        for (int axis : {Z, Y, X}) {
            if (place_of(faces.shape, v)[axis] == 0) continue;
            const uint32_t a = labels[v - stride[axis]], b = labels[v];
            if (a == b || !a || !b) continue;
            graph[std::minmax(a, b)].emplace_back(faces.at(axis, v), uint32_t(3 * (v - stride[axis]) + axis));
        }
    return graph;
}

inline std::vector<uint32_t> fill(const Faces<uint8_t>& faces, std::vector<uint32_t> labels) {
    const auto stride = faces.shape.strides();
    for (bool changed = true; changed;) {
        changed = false;
        const auto before = labels;
        for (int64_t v = 0; v < faces.shape.size(); ++v) {
            if (before[v]) continue;
            int best = -1;
            for (bool up : {false, true})
                for (int axis : {X, Y, Z}) {
                    std::array<int64_t, 3> step{};
                    step[axis] = up ? 1 : -1;
                    const int64_t other = at_offset(faces.shape, v, step);
                    if (other < 0 || !before[other]) continue;
                    const int code = faces.at(axis, up ? v + stride[axis] : v);
                    if (code > best) best = code, labels[v] = before[other], changed = true;
                }
        }
    }
    return labels;
}

// Which segment each ends in: the smallest below the minimum joins its best neighbour; 0 where it has none.
template <class Score>
std::vector<uint32_t> absorb_small(Graph<typename Score::Stats> graph, Score score, std::vector<uint64_t> size,
                                   uint64_t min_size) {
    std::vector<uint32_t> segment(size.size());
    std::iota(segment.begin(), segment.end(), 0);
    std::set<uint32_t> dropped{0};
    for (;;) {
        uint32_t small = 0;
        for (uint32_t s = 1; s < size.size(); ++s)
            if (segment[s] == s && !dropped.count(s) && size[s] < min_size && (!small || size[s] < size[small]))
                small = s;
        if (!small) break;
        const std::pair<const std::pair<uint32_t, uint32_t>, typename Score::Stats>* best = nullptr;
        for (const auto& edge : graph)
            if ((edge.first.first == small || edge.first.second == small) &&
                (!best || better<Score>(edge.second, best->second)))
                best = &edge;
        if (!best) {
            dropped.insert(small);
            continue;
        }
        const auto [a, b] = best->first;
        size[a] += size[b];
        for (auto& s : segment)
            if (s == b) s = a;
        graph = contracted(graph, score, a, b);
    }
    for (auto& s : segment)
        if (dropped.count(s)) s = 0;
    return segment;
}

// Single linkage down a list of edges while one of two regions is small; 0 where one ends smaller than dust.
inline std::vector<uint32_t> merge_by_size(const std::vector<std::pair<uint32_t, uint32_t>>& edges,
                                           const std::vector<uint64_t>& sizes, uint64_t size, uint64_t dust) {
    std::vector<uint32_t> region(sizes.size());
    std::iota(region.begin(), region.end(), 0);
    auto voxels = [&](uint32_t r) {
        uint64_t sum = 0;
        for (size_t f = 1; f < region.size(); ++f) sum += region[f] == r ? sizes[f] : 0;
        return sum;
    };
    for (const auto& [a, b] : edges) {
        const uint32_t p = std::min(region[a], region[b]), q = std::max(region[a], region[b]);
        if (p == q || (voxels(p) >= size && voxels(q) >= size)) continue;
        for (auto& r : region)
            if (r == q) r = p;
    }
    auto result = region;
    for (size_t f = 1; f < region.size(); ++f)
        if (voxels(region[f]) < dust) result[f] = 0;
    return result;
}

// The cluster of each node, named by its smallest: the best edge that is not barred unites or, if it repels, bars.
template <class Score>
std::vector<uint32_t> clusters(size_t nodes, Graph<SignedStats> graph) {
    std::vector<uint32_t> cluster(nodes);
    std::iota(cluster.begin(), cluster.end(), 0);
    Score score;
    for (;;) {
        auto best = graph.end();
        for (auto edge = graph.begin(); edge != graph.end(); ++edge)
            if (!edge->second.barred && (best == graph.end() || better<Score>(edge->second, best->second))) best = edge;
        if (best == graph.end()) break;
        if (Score::attracts(best->second)) {
            const auto [a, b] = best->first;
            for (auto& c : cluster)
                if (c == b) c = a;
            graph = contracted(graph, score, a, b);
        } else if (Score::EXCLUDES) {
            best->second.barred = true;
        } else {
            break;
        }
    }
    return cluster;
}

// The sweep of the mutex watershed, with sets of what each cluster excludes.
inline std::vector<uint32_t> mutex_watershed(const SignedEdges<uint8_t>& edges, const uint32_t* seeds) {
    constexpr uint32_t NEVER = SignedEdges<uint8_t>::NEVER, REPULSIVE = SignedEdges<uint8_t>::REPULSIVE;
    const Shape& shape = edges.shape;
    std::vector<std::tuple<uint32_t, int64_t, int64_t, bool>> sweep;
    for (size_t e = 0; e < edges.channels.size(); ++e)
        for (int64_t v = 0; v < shape.size(); ++v) {
            const auto& offset = edges.offsets[e];
            const int64_t other = at_offset(shape, v, offset);
            if (other < 0 || (edges.mask && !(edges.mask[v] && edges.mask[other]))) continue;
            const auto place = place_of(shape, v);
            bool kept = true;
            if (std::abs(offset[Z]) + std::abs(offset[Y]) + std::abs(offset[X]) > 1)
                for (int axis : {Z, Y, X}) kept = kept && place[axis] % edges.strides[axis] == 0;
            const uint32_t rank = edges.rank[e * edges.codes + edges.channels[e][v]];
            if (kept && rank != NEVER) sweep.emplace_back(rank & ~REPULSIVE, v, other, rank & REPULSIVE);
        }
    std::sort(sweep.begin(), sweep.end());
    std::vector<int64_t> cluster(shape.size());
    std::iota(cluster.begin(), cluster.end(), 0);
    std::map<int64_t, std::set<int64_t>> excludes;
    std::map<int64_t, uint32_t> seed;
    auto unite = [&](int64_t a, int64_t b) {
        for (auto& c : cluster)
            if (c == b) c = a;
        for (const int64_t other : excludes[b]) excludes[a].insert(other), excludes[other].insert(a);
        if (seed.count(b)) seed[a] = seed[b];
    };
    for (int64_t v = 0; seeds && v < shape.size(); ++v) {
        if (!seeds[v] || (edges.mask && !edges.mask[v])) continue;
        for (int64_t other = 0; other < v; ++other)
            if (seeds[other] == seeds[v] && seed.count(cluster[other]) && cluster[other] != v) {
                unite(cluster[other], v);
                break;
            }
        seed[cluster[v]] = seeds[v];
    }
    for (const auto& [rank, v, other, repulsive] : sweep) {
        const int64_t a = std::min(cluster[v], cluster[other]), b = std::max(cluster[v], cluster[other]);
        if (a == b) continue;
        if (repulsive)
            excludes[a].insert(b), excludes[b].insert(a);
        else if (!(seed.count(a) && seed.count(b)) && !excludes[a].count(b))
            unite(a, b);
    }
    std::vector<uint32_t> labels(shape.size(), 0);
    std::map<int64_t, uint32_t> number;
    for (int64_t v = 0; v < shape.size(); ++v)
        if (!edges.mask || edges.mask[v])
            labels[v] = number.insert({cluster[v], uint32_t(number.size() + 1)}).first->second;
    return labels;
}

}  // namespace slow
