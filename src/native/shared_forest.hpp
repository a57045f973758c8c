// Union-find for several threads.
#pragma once

#include <atomic>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

namespace neuropil {

// Several threads may unite trees at the same time. The root of a tree is its smallest node, in any order of unions.
template <class Index>
class SharedForest {
  public:
    explicit SharedForest(size_t nodes) : up_(nodes) { std::iota(up_.begin(), up_.end(), Index(0)); }

    Index find(Index v) {
        for (;;) {
            const Index up = load(v);
            if (up == v) return v;
            const Index top = load(up);
            if (top != up) set(v, top);
            v = top;
        }
    }

    // The same without path compression, so that other threads may change their paths at the same time.
    Index root(Index v) {
        for (Index up; (up = load(v)) != v;) v = up;
        return v;
    }

    void set(Index v, Index to) { std::atomic_ref<Index>(up_[v]).store(to, std::memory_order_relaxed); }

    void unite(Index a, Index b) {
        for (;;) {
            a = find(a), b = find(b);
            if (a == b) return;
            if (a > b) std::swap(a, b);
            if (std::atomic_ref<Index>(up_[b]).compare_exchange_strong(b, a, std::memory_order_relaxed)) return;
        }
    }

    // Non-atomic access, for nodes that no other thread uses.
    Index& operator[](Index v) { return up_[v]; }
    const Index& operator[](Index v) const { return up_[v]; }

  private:
    Index load(Index v) { return std::atomic_ref<Index>(up_[v]).load(std::memory_order_relaxed); }

    std::vector<Index> up_;
};

// For each of n items the smallest member of its set, after uniting pairs.
inline std::vector<uint64_t> unite(uint64_t n, const uint64_t* a, const uint64_t* b, size_t pairs) {
    std::vector<uint64_t> up(n);
    for (uint64_t i = 0; i < n; ++i) up[i] = i;
    auto find = [&](uint64_t v) {
        for (; up[v] != v; v = up[v]) up[v] = up[up[v]];
        return v;
    };
    for (size_t i = 0; i < pairs; ++i) {
        const uint64_t p = find(a[i]), q = find(b[i]);
        up[std::max(p, q)] = std::min(p, q);
    }
    for (uint64_t i = 0; i < n; ++i) up[i] = up[up[i]];  // what is smaller is settled
    return up;
}

}  // namespace neuropil
