// Disjoint sets of voxels (union-find), with which both watersheds unite voxels and number the results.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "parallel.hpp"

namespace neuropil {

// A forest over voxels, kept in the array that becomes the labels: entries with the top bit are pointers to a voxel of
// smaller or equal index, entries without it are final labels.
template <class Index>
class VoxelForest {
  public:
    static constexpr Index POINTER = Index(1) << (std::numeric_limits<Index>::digits - 1);

    explicit VoxelForest(Index* cell) : cell_(cell) {}

    void root(int64_t v) { cell_[v] = POINTER | Index(v); }
    void background(int64_t v) { cell_[v] = 0; }
    void attach(int64_t v, Index root) { cell_[v] = POINTER | root; }
    void follow(int64_t v, int64_t other, bool foreground) { cell_[v] = foreground ? cell_[other] : Index(0); }
    Index up(int64_t v) const { return cell_[v] & ~POINTER; }
    bool is_root(int64_t v) const { return cell_[v] == (POINTER | Index(v)); }

    void prefetch(int64_t v) const { prefetch_to_write(cell_ + v); }

    Index find(Index v) {
        for (;;) {
            const Index up = cell_[v] & ~POINTER;
            if (up == v) return v;
            const Index top = cell_[up] & ~POINTER;
            cell_[v] = POINTER | top;
            v = top;
        }
    }

    // The smaller root stays: the root of a tree is its smallest voxel.
    Index unite(Index a, Index b) {
        a = find(a), b = find(b);
        if (a > b) std::swap(a, b);
        if (a != b) cell_[b] = POINTER | a;
        return a;
    }

    // The same while other threads unite other voxels. The root of a tree is its smallest voxel, in any order of
    // unions.
    void unite_shared(Index a, Index b) {
        for (;;) {
            a = find_shared(a), b = find_shared(b);
            if (a == b) return;
            if (a > b) std::swap(a, b);
            Index expected = POINTER | b;
            if (std::atomic_ref<Index>(cell_[b]).compare_exchange_strong(expected, POINTER | a,
                                                                         std::memory_order_relaxed))
                return;
        }
    }

    // Unites the trees of two voxels and returns a voxel of the result; mostly the two voxels are the same.
    Index meet(Index a, Index b) { return a == b ? a : unite(a, b); }

    // Numbers the roots from 1 in their order; returns how many there are, and notes the roots where that is wanted.
    // Voxels still point to them.
    Index number_roots(int64_t voxels, const Run& run, std::vector<Index>* roots = nullptr) {
        constexpr int64_t CHUNK = 1 << 18;
        const int64_t chunks = (voxels + CHUNK - 1) / CHUNK;
        auto each = [&](int64_t chunk, auto&& see) {
            const int64_t end = std::min(voxels, (chunk + 1) * CHUNK);
            for (int64_t v = chunk * CHUNK; v < end; ++v) see(v);
        };
        std::vector<Index> before(chunks + 1, 0);
        auto count = [&](int64_t chunk) {
            Index found = 0;
            each(chunk, [&](int64_t v) { found += is_root(v); });
            before[chunk + 1] = found;
        };
        parallel_for(run, chunks, count, "count roots");
        for (int64_t chunk = 0; chunk < chunks; ++chunk) before[chunk + 1] += before[chunk];
        if (roots) roots->resize(before[chunks]);
        auto number = [&](int64_t chunk) {
            Index id = before[chunk];
            each(chunk, [&](int64_t v) {
                if (!is_root(v)) return;
                if (roots) (*roots)[id] = Index(v);
                cell_[v] = ++id;
            });
        };
        parallel_for(run, chunks, number, "number roots");
        return before[chunks];
    }

    // Replaces the pointers of a row of voxels by the labels at their ends, once the roots are numbered. Others may be
    // doing the same with theirs.
    void resolve(int64_t begin, int64_t end) {
        for (int64_t v = begin; v < end; ++v) {
            Index at = load(v);
            if (at & POINTER) {
                do at = load(at & ~POINTER);
                while (at & POINTER);
                std::atomic_ref<Index>(cell_[v]).store(at, std::memory_order_relaxed);
            }
        }
    }

    // Replaces all trees by labels from 1 in the order of their roots; returns how many there are.
    Index number(int64_t voxels, const Run& run) {
        constexpr int64_t CHUNK = 1 << 16;
        const Index count = number_roots(voxels, run);
        parallel_for(
            run, (voxels + CHUNK - 1) / CHUNK,
            [&](int64_t i) { resolve(i * CHUNK, std::min(voxels, (i + 1) * CHUNK)); }, "resolve");
        return count;
    }

  private:
    Index find_shared(Index v) {
        for (;;) {
            const Index up = load(v) & ~POINTER;
            if (up == v) return v;
            const Index top = load(up) & ~POINTER;
            if (top != up) std::atomic_ref<Index>(cell_[v]).store(POINTER | top, std::memory_order_relaxed);
            v = top;
        }
    }

    Index load(Index v) { return std::atomic_ref<Index>(cell_[v]).load(std::memory_order_relaxed); }

    Index* cell_;
};

}  // namespace neuropil
