// Merging one by one in the order of a priority queue, which decides between edges of equal code.
#pragma once
#include <deque>
#include <queue>
#include <unordered_map>
#include <vector>

#include "agglomerate.hpp"

namespace neuropil {

// Edges with their codes, the largest first; equal codes in the order of std's binary heap.
class HeapQueue {
  public:
    bool empty() const { return heap_.empty(); }
    void push(uint32_t edge, uint16_t code) { heap_.push({edge, code}); }
    uint32_t pop() {
        const uint32_t edge = heap_.top().edge;
        heap_.pop();
        return edge;
    }

  private:
    struct Entry {
        uint32_t edge;
        uint16_t code;
        bool operator<(const Entry& other) const { return code < other.code; }
    };
    std::priority_queue<Entry> heap_;
};

// Edges with their codes, the largest first; equal codes first in, first out.
class BinQueue {
  public:
    bool empty() const { return !left_; }
    void push(uint32_t edge, uint16_t code) {
        if (bins_.size() <= code) bins_.resize(size_t(code) + 1);
        bins_[code].push_back(edge);
        best_ = left_++ ? std::max<size_t>(best_, code) : code;
    }
    uint32_t pop() {
        const uint32_t edge = bins_[best_].front();
        bins_[best_].pop_front();
        --left_;
        while (left_ && bins_[best_].empty()) --best_;
        return edge;
    }

  private:
    std::vector<std::deque<uint32_t>> bins_;
    size_t best_ = 0, left_ = 0;
};

// Merges the best edge of a queue until there is none. When two edges become one, the one with the better last known
// code keeps its place in the queue (of equal codes that of the region with the larger name); at the front its code is
// computed from both, and it is queued again. At first edges are queued in their given order.
template <class Score, class Queue>
class QueueOrder {
  public:
    using Index = typename Score::Index;

    QueueOrder(Part<Score>& part, size_t nodes, const Run& run)
        : part_(part), run_(run), names_(Index(nodes)), node_(nodes + 1), around_(nodes + 1) {
        for (size_t n = 0; n <= nodes; ++n) node_[n] = n;
        code_.resize(part.edges.size());
        state_.assign(part.edges.size(), SCORED);
        for (uint32_t e = 0; e < part.edges.size(); ++e) {
            around_[part.edges[e].a][part.edges[e].b] = e;
            around_[part.edges[e].b][part.edges[e].a] = e;
            enqueue(e);
        }
    }

    std::vector<Merge<Score>> operator()() {
        std::vector<Merge<Score>> merges;
        for (size_t step = 0; !queue_.empty(); ++step) {
            if (step % 4096 == 0) run_.check();
            const uint32_t e = queue_.pop();
            if (state_[e] == GONE) continue;
            if (state_[e] == STALE) {
                state_[e] = SCORED;
                enqueue(e);
                continue;
            }
            const Index p = names_.find(part_.edges[e].a), q = names_.find(part_.edges[e].b);
            const Index a = std::min(p, q), b = std::max(p, q);
            merges.push_back({a, b, part_.edges[e].stats});
            unite(a, b);
            state_[e] = GONE;
        }
        return merges;
    }

  private:
    enum State : uint8_t { SCORED, STALE, GONE };

    void enqueue(uint32_t e) {
        code_[e] = uint16_t(Score::level(part_.edges[e].stats));
        queue_.push(e, code_[e]);
    }

    // Neighbours are stored by node; the united region keeps the node with more of them, so that fewer are moved.
    void unite(Index a, Index b) {
        size_t kept = node_[a], left = node_[b];
        const bool swapped = around_[left].size() > around_[kept].size();
        if (swapped) std::swap(kept, left);
        around_[kept].erase(left);
        for (const auto& [other, e] : around_[left]) {
            if (other == kept) continue;
            around_[other].erase(left);
            auto [place, alone] = around_[kept].try_emplace(other, e);
            if (!alone) place->second = swapped ? joined(e, place->second) : joined(place->second, e);
            around_[other][kept] = place->second;
        }
        std::unordered_map<size_t, uint32_t>().swap(around_[left]);
        names_.unite(a, b);
        node_[a] = kept;
    }

    // The edge that stays of one at the region with the smaller name and one at that with the larger.
    uint32_t joined(uint32_t at_a, uint32_t at_b) {
        const uint32_t stays = code_[at_b] < code_[at_a] ? at_a : at_b, goes = stays == at_a ? at_b : at_a;
        part_.score.pool(part_.edges[stays].stats, part_.edges[goes].stats);
        state_[stays] = STALE;
        state_[goes] = GONE;
        return stays;
    }

    Part<Score>& part_;
    const Run& run_;
    Names<Index> names_;
    std::vector<size_t> node_;                                  // of each region that is left
    std::vector<std::unordered_map<size_t, uint32_t>> around_;  // of each node: the edge to each neighbour
    std::vector<uint16_t> code_;
    std::vector<State> state_;
    Queue queue_;
};

}  // namespace neuropil
