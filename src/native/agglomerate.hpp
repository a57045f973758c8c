// Merging of mutual best pairs in a part of a volume. Regions that reach beyond the part are frozen: they merge with
// nothing here, and whoever has one of them as best neighbour waits for a larger part. What is merged is what greedy
// merging of the whole volume would merge (order-reducible scores; see Lu, Zlateski and Seung 2021 for the mean).
#pragma once
#include <algorithm>
#include <numeric>
#include <type_traits>
#include <vector>

#include "merging_graph.hpp"
#include "parallel.hpp"

namespace neuropil {

// One merge: two regions, each named by its smallest fragment, a < b, and the edge that joined them. A region in a
// merge is a subtree of the one and only tree, so its name does not depend on the order of work.
template <class Score>
struct Merge {
    typename Score::Index a, b;
    typename Score::Stats stats;
};

// Edges between regions named by their smallest fragments, and the score object that owns their stats.
template <class Score>
struct Part {
    Score score;
    std::vector<Edge<Score>> edges;
};

// The smallest fragment of each region, as regions merge.
template <class Index>
class Names {
  public:
    explicit Names(Index count) : up_(size_t(count) + 1) { std::iota(up_.begin(), up_.end(), Index(0)); }

    Index find(Index v) {
        for (; up_[v] != v; v = up_[v]) up_[v] = up_[up_[v]];
        return v;
    }

    void unite(Index small, Index large) { up_[large] = small; }

  private:
    std::vector<Index> up_;
};

// Merges what can be merged and leaves the rest in `part`. is_frozen(name) is asked once for every region.
template <class Score, class IsFrozen>
void merge_part(Part<Score>& part, uint64_t top, IsFrozen&& is_frozen, std::vector<Merge<Score>>& merges,
                const Run& run) {
    using Index = typename Score::Index;
    NameTable<Index> table(part.edges.size() / 3);
    for (auto& edge : part.edges) edge.a = table.add(edge.a), edge.b = table.add(edge.b);
    for (auto& edge : part.edges)
        if (edge.a > edge.b) std::swap(edge.a, edge.b);
    std::vector<Index> name = std::move(table.names());
    std::vector<uint8_t> blocked(name.size());
    for (size_t node = 0; node < name.size(); ++node) blocked[node] = is_frozen(name[node]);

    MergingGraph<Score> graph(Index(name.size()), std::move(part.edges), part.score);
    EdgeQueue<Score> queue(graph, top);
    auto skip = [&](const Edge<Score>& edge) { return blocked[edge.a] && blocked[edge.b]; };
    for (size_t e = 0; e < graph.size(); ++e)
        if (graph.alive(Index(e)) && !skip(graph.edge(Index(e)))) queue.push(Index(e));
    for (Index e, step = 0; (e = queue.pop(skip)) != EdgeQueue<Score>::NONE; ++step) {
        if (step % 4096 == 0) run.check();
        const Edge<Score> edge = graph.edge(e);
        if (blocked[edge.a] || blocked[edge.b]) {
            blocked[edge.a] = blocked[edge.b] = true;
            continue;
        }
        const auto [a, b] = std::minmax(name[edge.a], name[edge.b]);
        merges.push_back({a, b, edge.stats});
        const Index kept = graph.contract(e);
        name[kept] = a;
    }

    Score score = part.score;
    if constexpr (!std::is_empty_v<Score>) score = part.score.empty();
    size_t n = 0;
    auto& edges = graph.edges();
    for (const auto& edge : edges) {
        if (edge.a == MergingGraph<Score>::NONE) continue;
        const auto [a, b] = std::minmax(name[edge.a], name[edge.b]);
        edges[n++] = {a, b, score.adopt(part.score, edge.stats)};
    }
    edges.resize(n);
    edges.shrink_to_fit();
    part = {std::move(score), std::move(edges)};
}

// The merges of all parts in the order of greedy merging: by score, then by key; no two have the same key.
template <class Score>
void sort_merges(std::vector<Merge<Score>>& merges, uint64_t top, const Run& run) {
    int shift = 0;
    while (top >> shift > 0xffff) ++shift;
    const size_t buckets = (top >> shift) + 1;
    std::vector<size_t> start(buckets + 1, 0);
    auto bucket = [&](const Merge<Score>& merge) { return buckets - 1 - (Score::level(merge.stats) >> shift); };
    for (const auto& merge : merges) ++start[bucket(merge) + 1];
    for (size_t i = 0; i < buckets; ++i) start[i + 1] += start[i];
    std::vector<Merge<Score>> sorted(merges.size());
    auto next = start;
    for (const auto& merge : merges) sorted[next[bucket(merge)]++] = merge;
    merges.swap(sorted);
    constexpr int64_t GRAIN = 64;
    parallel_for(run, int64_t(buckets + GRAIN - 1) / GRAIN, [&](int64_t grain) {
        const size_t last = std::min(buckets, size_t(grain + 1) * GRAIN);
        for (size_t i = grain * GRAIN; i < last; ++i)
            std::sort(merges.begin() + start[i], merges.begin() + start[i + 1],
                      [](const auto& a, const auto& b) { return better<Score>(a.stats, b.stats); });
    });
}

}  // namespace neuropil
