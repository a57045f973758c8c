// Greedy merging of regions in the order (score descending, then smaller key): the graph that merges, the queue that
// says what comes next, and the loop. Scores are compared as exact rationals.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "parallel.hpp"
#include "region_graph.hpp"

namespace neuropil {

using Wide = unsigned __int128;

// The mean fixed-point value of an edge's faces.
struct Mean {
    template <class Index>
    static int compare(const Faceted<Index>& a, const Faceted<Index>& b) {
        const Wide left = Wide(a.sum) * b.count, right = Wide(b.sum) * a.count;
        return left > right ? 1 : left < right ? -1 : 0;
    }

    // A whole number that never rises when the score falls.
    template <class Index>
    static uint64_t level(const Faceted<Index>& faces) {
        return faces.sum / faces.count;
    }

    // The score in [0, 1]: the exact rational, rounded once to 64 bits and once to 53, both of which keep order.
    template <class Index>
    static double score(const Faceted<Index>& faces, double scale) {
        return double((long double)(faces.sum) / ((long double)(faces.count) * (long double)(scale)));
    }
};

// Whether edge a comes before edge b.
template <class Score, class Index>
bool better(const Faceted<Index>& a, const Faceted<Index>& b) {
    const int order = Score::compare(a, b);
    return order ? order > 0 : a.key < b.key;
}

// A graph whose nodes merge. Each node has a list of its edges (some may be dead, or pooled into others); lists join in
// constant time, and only the shorter one is walked. A table finds the edge between two nodes.
template <class Index>
class MergingGraph {
  public:
    static constexpr Index NONE = std::numeric_limits<Index>::max();

    MergingGraph(Index nodes, std::vector<Edge<Index>> edges)
        : edges_(std::move(edges)),
          next_(2 * edges_.size(), NONE),
          head_(nodes + 1, NONE),
          tail_(nodes + 1, NONE),
          degree_(nodes + 1, 0) {
        for (size_t e = 0; e < edges_.size(); ++e) {
            append(edges_[e].a, Index(2 * e));
            append(edges_[e].b, Index(2 * e + 1));
        }
        rebuild();
    }

    size_t size() const { return edges_.size(); }
    const Edge<Index>& edge(Index e) const { return edges_[e]; }
    bool alive(Index e) const { return edges_[e].a != NONE; }

    // Contracts edge e: the end with fewer edges vanishes into the other, which is returned. Where both ends had an
    // edge to a third node, the two are pooled in the better one (whose place in a queue is an upper bound).
    template <class Score>
    Index contract(Index e) {
        Index keep = edges_[e].a, lose = edges_[e].b;
        if (degree_[keep] < degree_[lose]) std::swap(keep, lose);
        kill(e);
        for (Index half = head_[lose]; half != NONE;) {
            const Index following = next_[half], f = half / 2;
            if (alive(f)) move<Score>(f, half, keep, lose);
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
            const Edge<Index>& edge = edges_[half / 2];
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

    template <class Score>
    void move(Index f, Index half, Index keep, Index lose) {
        Edge<Index>& edge = edges_[f];
        const Index other = edge.a == lose ? edge.b : edge.a;
        const Index twin = find(keep, other);
        if (twin != NONE && !better<Score>(edge.faces, edges_[twin].faces)) {
            edges_[twin].faces.add(edge.faces);
            kill(f);
            return;
        }
        if (twin != NONE) {
            edge.faces.add(edges_[twin].faces);
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
            ++used_;
            size_t slot = mix(edges_[e].a, edges_[e].b) & mask_;
            while (table_[slot] != NONE) slot = (slot + 1) & mask_;
            table_[slot] = Index(e);
        }
    }

    std::vector<Edge<Index>> edges_;
    std::vector<Index> next_, head_, tail_, degree_, table_;
    size_t mask_ = 0, used_ = 0;
};

// Edges by descending (score, key). Buckets by score are lists threaded through one array; only the best bucket that
// is not empty is a heap. An edge that has been pooled since it was queued is filed again where it now belongs, which
// is never further up.
template <class Score, class Index>
class EdgeQueue {
  public:
    EdgeQueue(const MergingGraph<Index>& graph, uint64_t top)
        : graph_(graph),
          shift_(shift(top)),
          lists_((top >> shift_) + 1, NONE),
          next_(graph.size(), NONE),
          bucket_(lists_.size()) {}

    void push(Index e) {
        const Faceted<Index>& faces = graph_.edge(e).faces;
        const size_t bucket = Score::level(faces) >> shift_;
        if (bucket >= bucket_) {
            heap_.push_back({faces, e});
            std::push_heap(heap_.begin(), heap_.end(), worse);
        } else {
            next_[e] = lists_[bucket];
            lists_[bucket] = e;
        }
    }

    // The best edge, removed; NONE at the end.
    Index pop() {
        for (;;) {
            while (heap_.empty() && bucket_) load();
            if (heap_.empty()) return NONE;
            const Entry entry = heap_.front();
            std::pop_heap(heap_.begin(), heap_.end(), worse);
            heap_.pop_back();
            if (!graph_.alive(entry.edge)) continue;
            const Faceted<Index>& now = graph_.edge(entry.edge).faces;
            if (now.count == entry.faces.count) return entry.edge;
            push(entry.edge);
        }
    }

  private:
    static constexpr Index NONE = MergingGraph<Index>::NONE;
    static constexpr int BITS = 16;
    struct Entry {
        Faceted<Index> faces;
        Index edge;
    };

    static bool worse(const Entry& a, const Entry& b) { return better<Score>(b.faces, a.faces); }

    static int shift(uint64_t top) {
        int bits = 0;
        while (top >> bits >> BITS) ++bits;
        return bits;
    }

    void load() {
        Index e = lists_[--bucket_];
        lists_[bucket_] = NONE;
        while (e != NONE) {
            const Index following = next_[e];
            if (graph_.alive(e)) {
                const Faceted<Index>& faces = graph_.edge(e).faces;
                const size_t bucket = Score::level(faces) >> shift_;
                if (bucket < bucket_)
                    next_[e] = lists_[bucket], lists_[bucket] = e;
                else
                    heap_.push_back({faces, e});
            }
            e = following;
        }
        std::make_heap(heap_.begin(), heap_.end(), worse);
    }

    const MergingGraph<Index>& graph_;
    const int shift_;
    std::vector<Index> lists_, next_;
    size_t bucket_;  // buckets below this one are still lists
    std::vector<Entry> heap_;
};

// One merge: two regions, each named by its smallest fragment, a < b, and the edge that joined them.
template <class Index>
struct Merge {
    Index a, b;
    Faceted<Index> faces;
};

template <class Index>
class Names {  // the smallest fragment of each region
  public:
    explicit Names(Index count) : up_(count + 1) { std::iota(up_.begin(), up_.end(), Index(0)); }

    Index find(Index v) {
        for (; up_[v] != v; v = up_[v]) up_[v] = up_[up_[v]];
        return v;
    }

    void unite(Index small, Index large) { up_[large] = small; }

  private:
    std::vector<Index> up_;
};

// Merges until nothing touches. `top` is the largest fixed-point value.
template <class Score, class Index>
std::vector<Merge<Index>> agglomerate(Index fragments, std::vector<Edge<Index>> edges, uint64_t top, const Run& run) {
    MergingGraph<Index> graph(fragments, std::move(edges));
    EdgeQueue<Score, Index> queue(graph, top);
    for (size_t e = 0; e < graph.size(); ++e) queue.push(Index(e));
    Names<Index> names(fragments);
    std::vector<Merge<Index>> merges;
    for (Index e; (e = queue.pop()) != MergingGraph<Index>::NONE;) {
        if (merges.size() % 4096 == 0) run.check();
        const Edge<Index> edge = graph.edge(e);
        const Index a = names.find(edge.a), b = names.find(edge.b);
        merges.push_back({std::min(a, b), std::max(a, b), edge.faces});
        names.unite(std::min(a, b), std::max(a, b));
        graph.template contract<Score>(e);
    }
    return merges;
}

}  // namespace neuropil
