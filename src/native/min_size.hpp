// Minimum size: the smallest segment joins its best neighbour, until none is too small. Runs on the graph of a cut.
#pragma once
#include <queue>
#include <tuple>
#include <vector>

#include "agglomerate.hpp"

namespace neuropil {

// The graph between segments, from the graph between fragments and the segment of each fragment; several edges may
// join two segments.
template <class Score>
std::vector<LocalEdge<Score>> contract_edges(const std::vector<Edge<Score>>& edges,
                                             const typename Score::Index* segment_of, const Run& run) {
    std::vector<LocalEdge<Score>> kept;
    each_chunk(run, int64_t(edges.size()), [&](int64_t begin, int64_t end) {
        for (int64_t e = begin; e < end; ++e) {
            const auto& edge = edges[e];
            const uint32_t a = uint32_t(segment_of[edge.a]), b = uint32_t(segment_of[edge.b]);
            if (a != b && a && b) kept.push_back({std::min(a, b), std::max(a, b), edge.stats});
        }
    });
    return kept;
}

// Which segment each segment ends in, 0 where it was too small and had no neighbour. Segments are numbered 1..n in the
// order of their smallest fragment, so "ties: smallest fragment label" is "ties: smallest name".
template <class Score>
std::vector<typename Score::Index> absorb_small(std::vector<LocalEdge<Score>> edges, Score& score,
                                                std::vector<uint64_t> size, uint64_t min_size, const Run& run) {
    using Index = typename Score::Index;
    const Index n = Index(size.size() - 1);
    MergingGraph<Score> graph(size_t(n) + 1, std::move(edges), score, run);
    Names<Index> names(n);
    std::vector<uint32_t> node(n + 1);
    std::vector<Index> result(n + 1, 0);
    std::iota(node.begin(), node.end(), uint32_t(0));
    std::vector<bool> dropped(n + 1, false);
    using Entry = std::pair<uint64_t, Index>;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> small;
    for (Index s = 1; s <= n; ++s)
        if (size[s] < min_size) small.emplace(size[s], s);
    for (size_t step = 0; !small.empty(); ++step) {
        if (step % 4096 == 0) run.check();
        const auto [voxels, name] = small.top();
        small.pop();
        if (names.find(name) != name || size[name] != voxels) continue;
        uint32_t best = MergingGraph<Score>::NONE, neighbour = 0;
        graph.each(node[name], [&](uint32_t e, uint32_t other) {
            if (best == MergingGraph<Score>::NONE || better<Score>(graph.edge(e).stats, graph.edge(best).stats))
                best = e, neighbour = other;
        });
        if (best == MergingGraph<Score>::NONE) {
            dropped[name] = true;
            continue;
        }
        const Index other = names.find(neighbour);  // nodes are named after one of their segments
        const Index a = std::min(name, other), b = std::max(name, other);
        names.unite(a, b);
        size[a] += size[b];
        node[a] = graph.contract(best);
        if (size[a] < min_size) small.emplace(size[a], a);
    }
    for (Index s = 1; s <= n; ++s) result[s] = dropped[names.find(s)] ? 0 : names.find(s);
    return result;
}

// The segment of each fragment 0 … n, from what it has become and the edges that are left (see BandMerger::regions):
// numbered from 1 in the order of their smallest fragments, those with fewer voxels than `min_size` joined or 0.
// `voxels` are those of each fragment; not looked at where nothing is too small.
template <class Score>
std::vector<typename Score::Index> segments_of(const std::vector<typename Score::Index>& region,
                                               std::vector<Part<Score>> parts, Score score,
                                               const std::vector<uint64_t>& voxels, uint64_t min_size, const Run& run) {
    using Index = typename Score::Index;
    std::vector<Index> segment(region.size(), 0);
    Index count = 0;
    for (size_t f = 1; f < region.size(); ++f) segment[f] = region[f] == f ? ++count : segment[region[f]];
    if (min_size <= 1) return segment;
    std::vector<uint64_t> sizes(size_t(count) + 1, 0);
    for (size_t f = 1; f < region.size(); ++f) sizes[segment[f]] += voxels[f];
    std::vector<LocalEdge<Score>> edges;
    for (auto& part : parts) {
        run.check();
        for (const auto& edge : part.edges) {
            const uint32_t a = uint32_t(segment[edge.a]), b = uint32_t(segment[edge.b]);
            if (a != b) edges.push_back({std::min(a, b), std::max(a, b), score.adopt(part.score, edge.stats)});
        }
        part = Part<Score>{score.empty(), {}};
    }
    const auto joined = absorb_small(std::move(edges), score, std::move(sizes), min_size, run);
    std::vector<Index> number(size_t(count) + 1, 0);
    Index next = 0;
    for (size_t s = 1; s < number.size(); ++s) number[s] = joined[s] == s ? ++next : number[joined[s]];
    for (Index& s : segment) s = number[s];
    return segment;
}

}  // namespace neuropil
