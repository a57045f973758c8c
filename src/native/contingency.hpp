// Contingency tables: the number of voxels with truth id t and segment id s, for every pair (t, s) that occurs.
//
// One pass over the voxels. Neighbouring voxels mostly have the same pair, so runs are counted, and only their ends use
// the hash table: the scan is limited by memory bandwidth, the table by the number of pairs.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <tuple>
#include <vector>

#include "parallel.hpp"

namespace neuropil {

struct Pair {
    std::uint64_t truth, segment, count;

    bool same_ids(const Pair& other) const { return truth == other.truth && segment == other.segment; }
    bool operator<(const Pair& other) const { return std::tie(truth, segment) < std::tie(other.truth, other.segment); }
};

// A strided [z, y, x] array; strides in elements, of either sign.
template <class T>
struct View3 {
    const T* data;
    std::array<std::int64_t, 3> shape, stride;
};

// Open addressing with linear probing; a slot is empty while its count is 0.
class PairTable {
  public:
    PairTable() : slots_(1024) {}

    void add(std::uint64_t truth, std::uint64_t segment, std::uint64_t count) {
        Pair& slot = find(truth, segment);
        if (slot.count == 0) {
            slot = {truth, segment, count};
            if (++used_ * 2 > slots_.size()) grow();
        } else {
            slot.count += count;
        }
    }

    std::vector<Pair> sorted(const Run& run) const {
        std::vector<Pair> pairs;
        pairs.reserve(used_);
        std::copy_if(slots_.begin(), slots_.end(), std::back_inserter(pairs), [](const Pair& p) { return p.count; });
        sort_checked(run, pairs.begin(), pairs.end(), std::less<>());
        return pairs;
    }

  private:
    static std::uint64_t hash(std::uint64_t truth, std::uint64_t segment) {
        std::uint64_t h = truth * 0x9E3779B97F4A7C15u + segment;
        h = (h ^ (h >> 32)) * 0xD6E8FEB86659FD93u;
        return h ^ (h >> 32);
    }

    Pair& find(std::uint64_t truth, std::uint64_t segment) {
        const std::size_t mask = slots_.size() - 1;
        std::size_t i = hash(truth, segment) & mask;
        while (slots_[i].count && !(slots_[i].truth == truth && slots_[i].segment == segment)) i = (i + 1) & mask;
        return slots_[i];
    }

    void grow() {
        std::vector<Pair> old(slots_.size() * 2);
        old.swap(slots_);
        for (const Pair& pair : old)
            if (pair.count) find(pair.truth, pair.segment) = pair;
    }

    std::vector<Pair> slots_;
    std::size_t used_ = 0;
};

// Whether the next 16 voxels all hold the pair (t, s). Written without an early exit so that it becomes vector code.
template <class T, class S>
inline bool all_equal_16(const T* truth, T t, const S* segment, S s) {
    T dt = 0;
    S ds = 0;
    for (int k = 0; k < 16; ++k) {
        dt |= static_cast<T>(truth[k] ^ t);
        ds |= static_cast<S>(segment[k] ^ s);
    }
    return dt == 0 && ds == 0;
}

// Counts rows [first, last) of the z*y rows.
template <class T, class S>
std::vector<Pair> count_rows(const View3<T>& truth, const View3<S>& segment, std::int64_t first, std::int64_t last,
                             const Run& run) {
    PairTable table;
    const auto [nz, ny, nx] = truth.shape;
    const bool dense = truth.stride[2] == 1 && segment.stride[2] == 1;
    T t{};
    S s{};
    std::uint64_t alike = 0;
    for (std::int64_t row = first; row < last; ++row) {
        run.check();
        const std::int64_t z = row / ny, y = row % ny;
        const T* pt = truth.data + z * truth.stride[0] + y * truth.stride[1];
        const S* ps = segment.data + z * segment.stride[0] + y * segment.stride[1];
        std::int64_t x = 0;
        while (x < nx) {
            if (dense && x + 16 <= nx && all_equal_16(pt + x, t, ps + x, s)) {
                x += 16;
                alike += 16;
                continue;
            }
            for (const std::int64_t end = std::min(nx, x + 16); x < end; ++x, ++alike) {
                const T next_t = pt[x * truth.stride[2]];
                const S next_s = ps[x * segment.stride[2]];
                if (next_t == t && next_s == s) continue;
                if (alike) table.add(t, s, alike);
                t = next_t;
                s = next_s;
                alike = 0;
            }
        }
    }
    if (alike) table.add(t, s, alike);
    return table.sorted(run);
}

// Adds up equal pairs of a sorted list.
inline void reduce_sorted(std::vector<Pair>& pairs) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        if (kept && pairs[kept - 1].same_ids(pairs[i]))
            pairs[kept - 1].count += pairs[i].count;
        else
            pairs[kept++] = pairs[i];
    }
    pairs.resize(kept);
}

// All pairs in ascending order of (truth, segment): the same list for any number of threads.
template <class T, class S>
std::vector<Pair> count_pairs(const View3<T>& truth, const View3<S>& segment, const Run& run) {
    const std::int64_t rows = truth.shape[0] * truth.shape[1];
    if (rows == 0 || truth.shape[2] == 0) return {};
    const std::int64_t parts = std::clamp<std::int64_t>(run.threads, 1, rows);
    std::vector<std::vector<Pair>> lists(parts);
    parallel_for(run, parts, [&](std::int64_t p) {
        lists[p] = count_rows(truth, segment, rows * p / parts, rows * (p + 1) / parts, run);
    });
    std::vector<Pair> all = std::move(lists[0]);
    for (std::int64_t p = 1; p < parts; ++p) {
        run.check();
        const auto middle = static_cast<std::ptrdiff_t>(all.size());
        all.insert(all.end(), lists[p].begin(), lists[p].end());
        std::inplace_merge(all.begin(), all.begin() + middle, all.end());
        std::vector<Pair>().swap(lists[p]);
    }
    reduce_sorted(all);
    return all;
}

}  // namespace neuropil
