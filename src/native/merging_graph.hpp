// A graph whose nodes merge, and the priority queue of its edges.
#pragma once
#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "edge_table.hpp"
#include "parallel.hpp"
#include "scores.hpp"

namespace neuropil {

// Each node has a list of its edges (some may be dead, or pooled into others); when two nodes merge, only the shorter
// list is walked. All lists are in one array, each contiguous, so that a walk can prefetch. An index finds the edge
// between two nodes.
template <class Score>
class MergingGraph {
  public:
    using Edges = std::vector<LocalEdge<Score>>;
    static constexpr uint32_t NONE = PairIndex<0>::NONE;

    // Edges may name the same pair of nodes more than once: they are parts of one edge.
    MergingGraph(size_t nodes, Edges edges, Score& score, const Run& run = Run())
        : score_(score), run_(run), edges_(std::move(edges)), lists_(nodes, List{0, 0, 0}) {
        if (edges_.size() >= NONE / 2) throw std::length_error("more than 2^31 edges in one graph");
        rebuild();
        for (const auto& edge : edges_)
            if (edge.a != NONE) ++lists_[edge.a].room, ++lists_[edge.b].room;
        size_t begin = 0;
        for (auto& list : lists_) list.begin = begin, begin += list.room;
        entries_.resize(begin);
        for (uint32_t e = 0; e < edges_.size(); ++e) {
            if (e % 65536 == 0) run_.check();
            if (alive(e)) append(edges_[e].a, e), append(edges_[e].b, e);
        }
    }

    size_t size() const { return edges_.size(); }
    const LocalEdge<Score>& edge(uint32_t e) const { return edges_[e]; }
    typename Score::Stats& stats(uint32_t e) { return edges_[e].stats; }
    bool alive(uint32_t e) const { return edges_[e].a != NONE; }
    const Edges& edges() const { return edges_; }

    // Contracts edge e: the node with fewer edges is merged into the other one, which is returned. If both had an edge
    // to a third node, the two are pooled into the better one, whose place in a queue is an upper bound.
    uint32_t contract(uint32_t e) {
        uint32_t keep = edges_[e].a, lose = edges_[e].b;
        if (lists_[keep].size < lists_[lose].size) std::swap(keep, lose);
        kill(e);
        // Memory latency dominates, so everything is prefetched before any of it is used.
        const List list = lists_[lose];
        const uint32_t* entry = entries_.data() + list.begin;
        for (uint32_t i = 0; i < list.size; ++i) __builtin_prefetch(&edges_[entry[i]], 1);
        moving_.clear();
        for (uint32_t i = 0; i < list.size; ++i) {
            const LocalEdge<Score>& edge = edges_[entry[i]];
            if (edge.a == NONE) continue;
            moving_.push_back(entry[i]);
            const uint32_t other = edge.a == lose ? edge.b : edge.a;
            index_.prefetch(std::min(keep, other), std::max(keep, other));
        }
        steps_ += list.size;
        recycle(list);
        lists_[lose] = {0, 0, 0};
        make_room(keep, uint32_t(moving_.size()));
        for (const uint32_t f : moving_) move(f, keep, lose);
        return keep;
    }

    // Calls see(edge, neighbour) for every edge of a node.
    template <class See>
    void each(uint32_t node, See&& see) const {
        const List& list = lists_[node];
        steps_ += list.size;
        for (size_t i = list.begin; i < list.begin + list.size; ++i) {
            const LocalEdge<Score>& edge = edges_[entries_[i]];
            if (edge.a == node) see(entries_[i], edge.b);
            if (edge.b == node) see(entries_[i], edge.a);
        }
    }

  private:
    struct List {
        size_t begin;
        uint32_t size, room;
    };

    void append(uint32_t node, uint32_t e) {
        List& list = lists_[node];
        entries_[list.begin + list.size++] = e;
    }

    // Lists that outgrow their space move, without dead edges, to one of a power of two; freed spaces are reused.
    void make_room(uint32_t node, uint32_t more) {
        List& list = lists_[node];
        if (list.size + more <= list.room) return;
        uint32_t live = 0;
        steps_ += list.size;
        uint32_t* entry = entries_.data() + list.begin;
        for (uint32_t i = 0; i < list.size; ++i)
            if (alive(entry[i])) entry[live++] = entry[i];
        list.size = live;
        if (live + live / 4 + more <= list.room) return;
        const List old = list;
        const int bits = std::bit_width(2 * (live + more) - 1);
        if (free_.size() <= size_t(bits)) free_.resize(bits + 1);
        if (free_[bits].empty()) {
            list.begin = entries_.size();
            entries_.resize(entries_.size() + (size_t(1) << bits));
        } else {
            list.begin = free_[bits].back();
            free_[bits].pop_back();
        }
        list.room = uint32_t(1) << bits;
        std::copy_n(entries_.data() + old.begin, live, entries_.data() + list.begin);
        recycle(old);
    }

    void recycle(const List& list) {
        if (list.room < 16) return;  // not worth remembering
        const size_t bits = std::bit_width(list.room) - 1;
        if (free_.size() <= bits) free_.resize(bits + 1);
        free_[bits].push_back(list.begin);
    }

    void kill(uint32_t e) { edges_[e].a = edges_[e].b = NONE; }

    void move(uint32_t f, uint32_t keep, uint32_t lose) {
        LocalEdge<Score>& edge = edges_[f];
        if (edge.a == NONE) return;  // a rebuild of the index has pooled it
        const uint32_t other = edge.a == lose ? edge.b : edge.a;
        const uint32_t a = std::min(keep, other), b = std::max(keep, other);
        const size_t slot = index_.slot(edges_, a, b);
        const uint32_t twin = index_.at(slot);
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
        append(keep, f);
        if (twin != NONE || index_.has_room())
            index_.enter(slot, a, b, f);
        else
            rebuild();
    }

    void rebuild() {
        // Never smaller than before, so that the cost of a rebuild is amortised over many insertions.
        index_.clear(std::max(index_.capacity(), edges_.size() + edges_.size() / 4));
        steps_ += edges_.size();
        for (uint32_t e = 0; e < edges_.size(); ++e) {
            if (e % 65536 == 0) run_.check();
            if (!alive(e)) continue;
            const size_t slot = index_.slot(edges_, edges_[e].a, edges_[e].b);
            const uint32_t twin = index_.at(slot);
            if (twin == NONE) {
                index_.enter(slot, edges_[e].a, edges_[e].b, e);
            } else {
                score_.pool(edges_[twin].stats, edges_[e].stats);
                kill(e);
            }
        }
    }

    Score& score_;
    const Run run_;
    Edges edges_;
    PairIndex<0> index_;
    std::vector<uint32_t> entries_, moving_;
    std::vector<List> lists_;
    std::vector<std::vector<size_t>> free_;
    mutable Operations steps_;
};

// Edges by descending (score, key). They are sorted into buckets by score; only the best bucket that is not empty is a
// heap. An edge that was pooled after it was queued is queued again in its new bucket, which is never a better one;
// these are linked lists in one array.
template <class Score>
class EdgeQueue {
  public:
    using Stats = typename Score::Stats;
    static constexpr uint32_t NONE = PairIndex<0>::NONE;

    // `top` is the highest level there can be; edges below `floor` are not taken.
    EdgeQueue(const MergingGraph<Score>& graph, uint64_t top, uint64_t floor = 0)
        : graph_(graph),
          floor_(floor),
          shift_(shift(top - floor, graph.size())),
          lists_(((top - floor) >> shift_) + 1, NONE),
          next_(graph.size()),
          bucket_(lists_.size()) {}

    // Inserts all edges that are not dead or skipped. Call it once, before the first pop.
    template <class Skip>
    void fill(const Run& run, Skip&& skip) {
        begin_.assign(lists_.size() + 1, 0);
        auto each = [&](auto&& see) {
            for (uint32_t e = 0; e < graph_.size(); ++e) {
                if (e % 65536 == 0) run.check();
                if (!graph_.alive(e) || skip(graph_.edge(e))) continue;
                const uint64_t level = Score::level(graph_.edge(e).stats);
                if (level >= floor_) see(e, (level - floor_) >> shift_);
            }
        };
        each([&](uint32_t, size_t bucket) { ++begin_[bucket]; });
        std::partial_sum(begin_.begin(), begin_.end(), begin_.begin());
        sorted_.resize(begin_.back());
        each([&](uint32_t e, size_t bucket) { sorted_[--begin_[bucket]] = e; });
    }

    // The best edge, removed; NONE at the end. Edges for which skip(edge) holds are dropped unseen.
    template <class Skip>
    uint32_t pop(Skip&& skip) {
        for (;;) {
            while (heap_.empty() && bucket_) load(skip);
            if (heap_.empty()) return NONE;
            const Entry entry = heap_.front();
            std::pop_heap(heap_.begin(), heap_.end(), worse);
            steps_ += std::bit_width(heap_.size());
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

    void push(uint32_t e) {
        const Stats& stats = graph_.edge(e).stats;
        const uint64_t level = Score::level(stats);
        if (level < floor_) return;
        const size_t bucket = (level - floor_) >> shift_;
        if (bucket >= bucket_) {
            heap_.push_back({stats, e});
            std::push_heap(heap_.begin(), heap_.end(), worse);
            steps_ += 1;
        } else {
            next_[e] = lists_[bucket];
            lists_[bucket] = e;
        }
    }

    static bool worse(const Entry& a, const Entry& b) { return better<Score>(b.stats, a.stats); }

    // About a bucket per edge, at most 65536.
    static int shift(uint64_t top, size_t edges) {
        int bits = 0;
        while (top >> bits > std::min<uint64_t>(0xffff, edges + 255)) ++bits;
        return bits;
    }

    template <class Skip>
    void load(Skip&& skip) {
        constexpr size_t AHEAD = 8;
        auto look_at = [&](uint32_t e) {
            steps_ += 1;
            if (graph_.alive(e) && !skip(graph_.edge(e))) push(e);
        };
        --bucket_;
        for (size_t i = begin_[bucket_ + 1]; i-- > begin_[bucket_];) {
            if (i >= AHEAD) __builtin_prefetch(&graph_.edge(sorted_[i - AHEAD]));
            look_at(sorted_[i]);
        }
        for (uint32_t e = lists_[bucket_]; e != NONE;) {
            const uint32_t following = next_[e];
            if (following != NONE) __builtin_prefetch(&graph_.edge(following));
            look_at(e);
            e = following;
        }
    }

    const MergingGraph<Score>& graph_;
    const uint64_t floor_;
    const int shift_;
    std::vector<size_t> begin_;  // of each bucket in the sorted edges
    std::vector<uint32_t> sorted_, lists_, next_;
    size_t bucket_;  // buckets below this one are not in the heap
    std::vector<Entry> heap_;
    Operations steps_;
};

}  // namespace neuropil
