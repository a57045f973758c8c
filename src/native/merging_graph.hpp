// A graph whose nodes merge, and the queue that says which edge is next.
#pragma once
#include <limits>

#include "edge_table.hpp"
#include "scores.hpp"

namespace neuropil {

// Each node has a list of its edges (some may be dead, or pooled into others); lists join in constant time, and only
// the shorter one is walked. A table finds the edge between two nodes.
template <class Score>
class MergingGraph {
  public:
    using Index = typename Score::Index;
    static constexpr Index NONE = std::numeric_limits<Index>::max();

    // Edges may name the same pair of nodes more than once: they are parts of one edge.
    MergingGraph(Index nodes, std::vector<Edge<Score>> edges, Score& score)
        : score_(score),
          edges_(std::move(edges)),
          next_(2 * edges_.size(), NONE),
          head_(nodes, NONE),
          tail_(nodes, NONE),
          degree_(nodes, 0) {
        rebuild();
        for (size_t e = 0; e < edges_.size(); ++e) {
            if (!alive(Index(e))) continue;
            append(edges_[e].a, Index(2 * e));
            append(edges_[e].b, Index(2 * e + 1));
        }
    }

    size_t size() const { return edges_.size(); }
    const Edge<Score>& edge(Index e) const { return edges_[e]; }
    bool alive(Index e) const { return edges_[e].a != NONE; }
    std::vector<Edge<Score>>& edges() { return edges_; }

    // Contracts edge e: the end with fewer edges vanishes into the other, which is returned. Where both ends had an
    // edge to a third node, the two are pooled in the better one, whose place in a queue is an upper bound.
    Index contract(Index e) {
        Index keep = edges_[e].a, lose = edges_[e].b;
        if (degree_[keep] < degree_[lose]) std::swap(keep, lose);
        kill(e);
        for (Index half = head_[lose]; half != NONE;) {
            const Index following = next_[half];
            if (alive(half / 2)) move(half / 2, half, keep, lose);
            half = following;
        }
        head_[lose] = tail_[lose] = NONE;
        degree_[lose] = 0;
        return keep;
    }

    // Calls see(edge, neighbour) for every edge of a node.
    template <class See>
    void each(Index node, See&& see) const {
        for (Index half = head_[node]; half != NONE; half = next_[half]) {
            const Edge<Score>& edge = edges_[half / 2];
            if (edge.a == node) see(half / 2, edge.b);
            if (edge.b == node) see(half / 2, edge.a);
        }
    }

  private:
    void append(Index node, Index half) {
        (head_[node] == NONE ? head_[node] : next_[tail_[node]]) = half;
        tail_[node] = half;
        next_[half] = NONE;
        ++degree_[node];
    }

    void kill(Index e) { edges_[e].a = edges_[e].b = NONE; }

    void move(Index f, Index half, Index keep, Index lose) {
        Edge<Score>& edge = edges_[f];
        const Index other = edge.a == lose ? edge.b : edge.a;
        const Index twin = find(keep, other);
        if (twin != NONE && !better<Score>(edge.stats, edges_[twin].stats)) {
            score_.pool(edges_[twin].stats, edge.stats);
            kill(f);
            return;
        }
        if (twin != NONE) {
            score_.pool(edge.stats, edges_[twin].stats);
            kill(twin);
        }
        edge.a = std::min(keep, other), edge.b = std::max(keep, other);
        append(keep, half);
        insert(f);
    }

    // Slots of dead or renamed edges stay until the table is rebuilt: they match nothing, since names are compared.
    Index find(Index a, Index b) const {
        if (a > b) std::swap(a, b);
        for (size_t slot = mix(a, b) & mask_; table_[slot] != NONE; slot = (slot + 1) & mask_)
            if (edges_[table_[slot]].a == a && edges_[table_[slot]].b == b) return table_[slot];
        return NONE;
    }

    void insert(Index e) {
        if (++used_ * 4 > table_.size() * 3) return rebuild();
        size_t slot = mix(edges_[e].a, edges_[e].b) & mask_;
        while (table_[slot] != NONE) slot = (slot + 1) & mask_;
        table_[slot] = e;
    }

    void rebuild() {
        size_t slots = 16;
        while (slots < 2 * edges_.size()) slots *= 2;  // never fewer: a rebuild must be paid for by many insertions
        table_.assign(slots, NONE);
        mask_ = slots - 1;
        used_ = 0;
        for (size_t e = 0; e < edges_.size(); ++e) {
            if (!alive(Index(e))) continue;
            const Edge<Score>& edge = edges_[e];
            size_t slot = mix(edge.a, edge.b) & mask_;
            while (table_[slot] != NONE && (edges_[table_[slot]].a != edge.a || edges_[table_[slot]].b != edge.b))
                slot = (slot + 1) & mask_;
            if (table_[slot] == NONE) {
                table_[slot] = Index(e);
                ++used_;
            } else {
                score_.pool(edges_[table_[slot]].stats, edge.stats);
                kill(Index(e));
            }
        }
    }

    Score& score_;
    std::vector<Edge<Score>> edges_;
    std::vector<Index> next_, head_, tail_, degree_, table_;
    size_t mask_ = 0, used_ = 0;
};

// Edges by descending (score, key). Buckets by score are lists threaded through one array; only the best bucket that is
// not empty is a heap. An edge that has been pooled since it was queued is filed again where it now belongs, which is
// never further up.
template <class Score>
class EdgeQueue {
  public:
    using Index = typename Score::Index;
    using Stats = typename Score::Stats;
    static constexpr Index NONE = MergingGraph<Score>::NONE;

    // `top` is the highest level there can be.
    EdgeQueue(const MergingGraph<Score>& graph, uint64_t top)
        : graph_(graph),
          shift_(shift(top, graph.size())),
          lists_((top >> shift_) + 1, NONE),
          next_(graph.size(), NONE),
          bucket_(lists_.size()) {}

    void push(Index e) {
        const Stats& stats = graph_.edge(e).stats;
        const size_t bucket = Score::level(stats) >> shift_;
        if (bucket >= bucket_) {
            heap_.push_back({stats, e});
            std::push_heap(heap_.begin(), heap_.end(), worse);
        } else {
            next_[e] = lists_[bucket];
            lists_[bucket] = e;
        }
    }

    // The best edge, removed; NONE at the end. Edges for which skip(edge) holds are dropped unseen.
    template <class Skip>
    Index pop(Skip&& skip) {
        for (;;) {
            while (heap_.empty() && bucket_) load(skip);
            if (heap_.empty()) return NONE;
            const Entry entry = heap_.front();
            std::pop_heap(heap_.begin(), heap_.end(), worse);
            heap_.pop_back();
            if (!graph_.alive(entry.edge)) continue;
            if (Score::same(graph_.edge(entry.edge).stats, entry.stats)) return entry.edge;
            push(entry.edge);
        }
    }

  private:
    struct Entry {
        Stats stats;
        Index edge;
    };

    static bool worse(const Entry& a, const Entry& b) { return better<Score>(b.stats, a.stats); }

    // About a bucket per edge, at most 65536.
    static int shift(uint64_t top, size_t edges) {
        int bits = 0;
        while (top >> bits > std::min<uint64_t>(0xffff, edges + 255)) ++bits;
        return bits;
    }

    template <class Skip>
    void load(Skip&& skip) {
        Index e = lists_[--bucket_];
        lists_[bucket_] = NONE;
        while (e != NONE) {
            const Index following = next_[e];
            if (graph_.alive(e) && !skip(graph_.edge(e))) {
                const Stats& stats = graph_.edge(e).stats;
                const size_t bucket = Score::level(stats) >> shift_;
                if (bucket < bucket_)
                    next_[e] = lists_[bucket], lists_[bucket] = e;
                else
                    heap_.push_back({stats, e});
            }
            e = following;
        }
        std::make_heap(heap_.begin(), heap_.end(), worse);
    }

    const MergingGraph<Score>& graph_;
    const int shift_;
    std::vector<Index> lists_, next_;
    size_t bucket_;  // buckets below this one are still lists
    std::vector<Entry> heap_;
};

}  // namespace neuropil
