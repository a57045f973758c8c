// Merging of mutual best pairs in a part of a volume. Regions that reach beyond the part are frozen and do not merge
// here; they, and each region whose best neighbour is one of them, are deferred to a larger part. The merges are those
// of greedy merging of the whole volume (order-reducible scores; see Lu, Zlateski and Seung 2021 for the mean).
#pragma once
#include <algorithm>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

#include "merging_graph.hpp"
#include "parallel.hpp"

namespace neuropil {

// One merge: two regions, each named by its smallest fragment, a < b, and the edge that joined them. A region is a
// subtree of the merge tree, which is unique, so its name does not depend on the order of work.
template <class Score>
struct Merge {
    typename Score::Index a, b;
    typename Score::Stats stats;
};

// A part with regions numbered 0, 1, …, their names, and which of them are deferred.
template <class Score>
struct LocalPart {
    std::vector<typename Score::Index> name;
    std::vector<uint8_t> blocked;
    std::vector<LocalEdge<Score>> edges;
};

// The smallest fragment of each region, as regions merge.
template <class Index>
class Names {
  public:
    explicit Names(Index count) : up_(size_t(count) + 1) { std::iota(up_.begin(), up_.end(), Index(0)); }

    Index find(Index v) {
        for (; up_[v] != v; v = up_[v], steps_ += 1) up_[v] = up_[up_[v]];
        steps_ += 1;
        return v;
    }

    void unite(Index small, Index large) { up_[large] = small; }

  private:
    std::vector<Index> up_;
    Operations steps_;
};

// Numbers the regions of a part in the order in which edges name them; moves the edges out of the part.
template <class Score>
std::pair<LocalPart<Score>, NameTable<typename Score::Index>> number_regions(Part<Score>& part,
                                                                             const Run& run = Run()) {
    NameTable<typename Score::Index> table(part.edges.size() / 2);
    LocalPart<Score> local;
    local.edges.reserve(part.edges.size());
    each_chunk(run, int64_t(part.edges.size()), [&](int64_t begin, int64_t end) {
        for (int64_t e = begin; e < end; ++e) {
            const auto& edge = part.edges[e];
            const uint32_t a = table.add(edge.a), b = table.add(edge.b);
            local.edges.push_back({std::min(a, b), std::max(a, b), edge.stats});
        }
    });
    std::vector<Edge<Score>>().swap(part.edges);
    local.name = table.names();
    local.blocked.assign(local.name.size(), false);
    return {std::move(local), std::move(table)};
}

// Lets every edge merge.
struct AnyScore {
    template <class Stats>
    bool operator()(const Stats&) const {
        return true;
    }
};

// Lets edges merge whose score is at least `stop`, in the unit of Score::value; all of them when that is 0.
template <class Score>
struct Reaches {
    double stop = 0, scale = 1;

    bool operator()(const typename Score::Stats& stats) const {
        return stop <= 0 || Score::value(stats, scale) >= stop;
    }

    // A lower bound of the level of all edges that may merge; top + 1 if none may.
    uint64_t lowest(uint64_t top) const {
        const double level = stop * (std::is_same_v<Score, Mean<typename Score::Index>> ? scale : 1) - 2;
        return level < 1 ? 0 : level > double(top) ? top + 1 : uint64_t(level);
    }
};

// The remaining edges of a graph for which waits(edge) holds, by names of regions.
template <class Score, class Waits>
Part<Score> rest_of(const MergingGraph<Score>& graph, const std::vector<typename Score::Index>& name,
                    const Score& score, Waits&& waits) {
    Part<Score> rest{score.empty(), {}};
    auto stays = [&](const auto& edge) { return edge.a != MergingGraph<Score>::NONE && waits(edge); };
    rest.edges.reserve(std::count_if(graph.edges().begin(), graph.edges().end(), stays));
    for (const auto& edge : graph.edges()) {
        if (!stays(edge)) continue;
        const auto [a, b] = std::minmax(name[edge.a], name[edge.b]);
        rest.edges.push_back({a, b, rest.score.adopt(score, edge.stats)});
    }
    return rest;
}

// Merges all that can be merged, down to the first edge that is not enough(stats), and returns the edges that may still
// merge in a larger part. Blocked regions, and those whose best neighbour is one, are deferred; edges of all others are
// dropped, since they are either merged or not enough.
template <class Score, class Enough = AnyScore>
Part<Score> merge_part(LocalPart<Score> local, Score& score, uint64_t top, std::vector<Merge<Score>>& merges,
                       const Run& run, Enough&& enough = {}) {
    auto& name = local.name;
    auto& blocked = local.blocked;
    MergingGraph<Score> graph(name.size(), std::move(local.edges), score, run);
    EdgeQueue<Score> queue(graph, top);
    auto skip = [&](const LocalEdge<Score>& edge) { return blocked[edge.a] && blocked[edge.b]; };
    queue.fill(run, skip);
    for (uint32_t e, step = 0; (e = queue.pop(skip)) != EdgeQueue<Score>::NONE; ++step) {
        if (step % 4096 == 0) run.check();
        const LocalEdge<Score> edge = graph.edge(e);
        if (!enough(edge.stats)) break;
        if (blocked[edge.a] || blocked[edge.b]) {
            blocked[edge.a] = blocked[edge.b] = true;
            continue;
        }
        const auto [a, b] = std::minmax(name[edge.a], name[edge.b]);
        merges.push_back({a, b, edge.stats});
        const auto smaller = a;
        name[graph.contract(e)] = smaller;
    }

    return rest_of(graph, name, score, [&](const auto& edge) { return blocked[edge.a] && blocked[edge.b]; });
}

// The merges of all parts in the order of greedy merging: by score, then by key; no two have the same key. They are
// sorted into buckets by score, several groups of lists side by side, then within buckets.
template <class Score>
std::vector<Merge<Score>> sort_merges(std::vector<std::vector<Merge<Score>>> lists, uint64_t top, const Run& run) {
    constexpr size_t GROUPS = 8, GRAIN = 64;
    int shift = 0;
    while (top >> shift > 0xffff) ++shift;
    const size_t buckets = (top >> shift) + 1;
    auto bucket = [&](const Merge<Score>& merge) { return buckets - 1 - (Score::level(merge.stats) >> shift); };
    size_t count = 0;
    for (const auto& list : lists) count += list.size();
    std::vector<std::vector<size_t>> next(GROUPS, std::vector<size_t>(buckets, 0)), members(GROUPS);
    size_t before = 0;
    for (size_t i = 0; i < lists.size(); before += lists[i++].size())
        if (!lists[i].empty()) members[before * GROUPS / count].push_back(i);
    auto each = [&](auto&& see) {
        parallel_for(
            run, GROUPS,
            [&](int64_t g) {
                for (const size_t i : members[g])
                    each_chunk(run, int64_t(lists[i].size()), [&](int64_t begin, int64_t end) {
                        for (int64_t m = begin; m < end; ++m) see(next[g][bucket(lists[i][m])], lists[i][m]);
                    });
            },
            "merges into buckets");
    };
    each([](size_t& here, const Merge<Score>&) { ++here; });
    std::vector<size_t> start(buckets + 1);
    size_t at = 0;
    for (size_t i = 0; i < buckets; ++i) {
        start[i] = at;
        for (auto& group : next) at += std::exchange(group[i], at);
    }
    start[buckets] = at;
    std::vector<Merge<Score>> sorted(count);
    each([&](size_t& here, const Merge<Score>& merge) { sorted[here++] = merge; });
    lists.clear();
    parallel_for(
        run, int64_t((buckets + GRAIN - 1) / GRAIN),
        [&](int64_t grain) {
            const size_t last = std::min(buckets, size_t(grain + 1) * GRAIN);
            for (size_t i = size_t(grain) * GRAIN; i < last; ++i)
                sort_checked(run, sorted.begin() + start[i], sorted.begin() + start[i + 1],
                             [](const auto& a, const auto& b) { return better<Score>(a.stats, b.stats); });
        },
        "sort merges");
    return sorted;
}

template <class Score>
std::vector<Merge<Score>> sort_merges(std::vector<Merge<Score>> merges, uint64_t top, const Run& run) {
    std::vector<std::vector<Merge<Score>>> lists;
    lists.push_back(std::move(merges));
    return sort_merges(std::move(lists), top, run);
}

}  // namespace neuropil
