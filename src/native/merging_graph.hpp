// A graph whose nodes merge, and the queue that says which edge is next.
#pragma once
#include <limits>
#include <stdexcept>

#include "edge_table.hpp"
#include "parallel.hpp"
#include "scores.hpp"

namespace neuropil {

// Each node has a list of its edges (some may be dead, or pooled into others); lists join in constant time, and only
// the shorter one is walked. An index finds the edge between two nodes.
template <class Score>
class MergingGraph {
  public:
    using Edges = std::vector<LocalEdge<Score>>;
    static constexpr uint32_t NONE = PairIndex::NONE;

    // Edges may name the same pair of nodes more than once: they are parts of one edge.
    MergingGraph(size_t nodes, Edges edges, Score& score, const Run& run = Run())
        : MergingGraph(nodes, std::move(edges), PairIndex(), score, run) {}

    // With an index that holds all edges, none of them twice.
    MergingGraph(size_t nodes, Edges edges, PairIndex index, Score& score, const Run& run = Run())
        : score_(score),
          run_(run),
          edges_(std::move(edges)),
          index_(std::move(index)),
          next_(2 * edges_.size()),
          ends_(nodes, Ends{NONE, NONE, 0}) {
        if (edges_.size() >= NONE / 2) throw std::length_error("more than 2^31 edges in one graph");
        if (index_.size() != edges_.size()) rebuild();
        for (uint32_t e = 0; e < edges_.size(); ++e) {
            if (e % 65536 == 0) run_.check();
            if (!alive(e)) continue;
            append(edges_[e].a, 2 * e);
            append(edges_[e].b, 2 * e + 1);
        }
    }

    size_t size() const { return edges_.size(); }
    const LocalEdge<Score>& edge(uint32_t e) const { return edges_[e]; }
    typename Score::Stats& stats(uint32_t e) { return edges_[e].stats; }
    bool alive(uint32_t e) const { return edges_[e].a != NONE; }
    const Edges& edges() const { return edges_; }

    // Contracts edge e: the end with fewer edges vanishes into the other, which is returned. Where both ends had an
    // edge to a third node, the two are pooled in the better one, whose place in a queue is an upper bound.
    uint32_t contract(uint32_t e) {
        uint32_t keep = edges_[e].a, lose = edges_[e].b;
        if (ends_[keep].degree < ends_[lose].degree) std::swap(keep, lose);
        kill(e);
        // Memory is far away: everything that will be needed is asked for before any of it is used.
        halves_.clear();
        for (uint32_t half = ends_[lose].head; half != NONE; half = next_[half]) {
            __builtin_prefetch(&edges_[half / 2], 1);
            halves_.push_back(half);
        }
        size_t live = 0;
        for (const uint32_t half : halves_) {
            if (!alive(half / 2)) continue;
            halves_[live++] = half;
            const uint32_t other = edges_[half / 2].a == lose ? edges_[half / 2].b : edges_[half / 2].a;
            index_.prefetch(std::min(keep, other), std::max(keep, other));
        }
        for (size_t i = 0; i < live; ++i) move(halves_[i] / 2, halves_[i], keep, lose);
        ends_[lose] = {NONE, NONE, 0};
        return keep;
    }

    // Calls see(edge, neighbour) for every edge of a node.
    template <class See>
    void each(uint32_t node, See&& see) const {
        for (uint32_t half = ends_[node].head; half != NONE; half = next_[half]) {
            const LocalEdge<Score>& edge = edges_[half / 2];
            if (edge.a == node) see(half / 2, edge.b);
            if (edge.b == node) see(half / 2, edge.a);
        }
    }

  private:
    struct Ends {
        uint32_t head, tail, degree;
    };

    void append(uint32_t node, uint32_t half) {
        Ends& ends = ends_[node];
        (ends.head == NONE ? ends.head : next_[ends.tail]) = half;
        ends.tail = half;
        next_[half] = NONE;
        ++ends.degree;
    }

    void kill(uint32_t e) { edges_[e].a = edges_[e].b = NONE; }

    void move(uint32_t f, uint32_t half, uint32_t keep, uint32_t lose) {
        LocalEdge<Score>& edge = edges_[f];
        const uint32_t other = edge.a == lose ? edge.b : edge.a;
        const uint32_t a = std::min(keep, other), b = std::max(keep, other);
        const uint32_t twin = index_.find(edges_, a, b);
        if (twin != NONE && !better<Score>(edge.stats, edges_[twin].stats)) {
            score_.pool(edges_[twin].stats, edge.stats);
            kill(f);
            return;
        }
        if (twin != NONE) {
            score_.pool(edge.stats, edges_[twin].stats);
            kill(twin);
        }
        edge.a = a, edge.b = b;
        append(keep, half);
        if (index_.has_room())
            index_.insert(a, b, f);
        else
            rebuild();
    }

    void rebuild() {
        // Never smaller: a rebuild must be paid for by many insertions.
        index_.clear(std::max(index_.capacity(), edges_.size() + edges_.size() / 2));
        for (uint32_t e = 0; e < edges_.size(); ++e) {
            if (e % 65536 == 0) run_.check();
            if (!alive(e)) continue;
            const uint32_t twin = index_.find(edges_, edges_[e].a, edges_[e].b);
            if (twin == NONE) {
                index_.insert(edges_[e].a, edges_[e].b, e);
            } else {
                score_.pool(edges_[twin].stats, edges_[e].stats);
                kill(e);
            }
        }
    }

    Score& score_;
    const Run run_;
    Edges edges_;
    PairIndex index_;
    std::vector<uint32_t> next_, halves_;
    std::vector<Ends> ends_;
};

// Edges by descending (score, key). Buckets by score are lists threaded through one array; only the best bucket that is
// not empty is a heap. An edge that has been pooled since it was queued is filed again where it now belongs, which is
// never further up.
template <class Score>
class EdgeQueue {
  public:
    using Stats = typename Score::Stats;
    static constexpr uint32_t NONE = PairIndex::NONE;

    // `top` is the highest level there can be; edges below `floor` are not taken.
    EdgeQueue(const MergingGraph<Score>& graph, uint64_t top, uint64_t floor = 0)
        : graph_(graph),
          floor_(floor),
          shift_(shift(top - floor, graph.size())),
          lists_(((top - floor) >> shift_) + 1, NONE),
          next_(graph.size()),
          bucket_(lists_.size()) {}

    void push(uint32_t e) {
        const Stats& stats = graph_.edge(e).stats;
        const uint64_t level = Score::level(stats);
        if (level < floor_) return;
        const size_t bucket = (level - floor_) >> shift_;
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
    uint32_t pop(Skip&& skip) {
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
        uint32_t edge;
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
        uint32_t e = lists_[--bucket_];
        lists_[bucket_] = NONE;
        while (e != NONE) {
            const uint32_t following = next_[e];
            if (following != NONE) __builtin_prefetch(&graph_.edge(following));
            if (graph_.alive(e) && !skip(graph_.edge(e))) {
                const Stats& stats = graph_.edge(e).stats;
                const uint64_t level = Score::level(stats);
                const size_t bucket = (level - floor_) >> shift_;
                if (level < floor_)
                    ;
                else if (bucket < bucket_)
                    next_[e] = lists_[bucket], lists_[bucket] = e;
                else
                    heap_.push_back({stats, e});
            }
            e = following;
        }
        std::make_heap(heap_.begin(), heap_.end(), worse);
    }

    const MergingGraph<Score>& graph_;
    const uint64_t floor_;
    const int shift_;
    std::vector<uint32_t> lists_, next_;
    size_t bucket_;  // buckets below this one are still lists
    std::vector<Entry> heap_;
};

}  // namespace neuropil
