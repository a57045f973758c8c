// Quantiles: an edge keeps how often each code occurs among its faces, in the least memory for their number.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

#include "operations.hpp"

namespace neuropil {

// The code of rank min(n, n * percent / 100 + 1) among n faces in ascending order. A few codes are kept in the stats
// themselves. More are a histogram in one arena: a list of bins in ascending order, each with a code in its upper bits
// and a count below (a count too large for one bin takes several); or, where nearly all codes occur, a table with a
// count for every code. Contract: see scores.hpp.
template <class I>
class Quantile {
  public:
    using Index = I;
    struct Stats {
        uint64_t place = 0;  // where the bins begin; where there are none, the codes themselves, the smallest lowest
        uint32_t bins = 0;   // TABLE where it is one
        Index count = 0, key = 0;
        uint16_t code = 0;
    };

    explicit Quantile(int percent, int code_bits)
        : percent_(percent), code_bits_(code_bits), count_bits_(32 - code_bits), few_(64 / code_bits) {}

    // Until finish() is called the few codes are in any order, and those of other faces are kept aside. Which it is, is
    // hard to predict for the CPU, so there is no branch on it: a face that is not kept aside is overwritten.
    void add_face(Stats& stats, uint32_t edge, uint16_t code, uint32_t, Index key) {
        if (aside_ == faces_.size()) faces_.resize(std::max<size_t>(1024, 2 * aside_));
        const bool fits = stats.count < few_;
        stats.place |= (uint64_t(code) & -uint64_t(fits)) << (stats.count * code_bits_ & 63);
        faces_[aside_] = {edge, code};
        aside_ += !fits;
        ++stats.count;
        stats.key = std::max(stats.key, key);
    }

    // The same score with nothing stored.
    Quantile empty() const { return Quantile(int(percent_), code_bits_); }

    // What edges hold, from the faces that were added.
    template <class Edges>
    void finish(Edges& edges) {
        faces_.resize(std::exchange(aside_, 0));
        for (uint32_t e = 0; e < edges.size(); ++e) {
            Stats& stats = edges[e].stats;
            if (stats.count <= few_) {
                sort_few(stats);
                continue;
            }
            for (uint64_t i = 0; i < few_; ++i) faces_.push_back({e, uint16_t(few_code(stats.place, i))});
        }
        sort_faces(edges.size());
        for (size_t f = 0; f < faces_.size();) {
            const uint32_t e = faces_[f].edge;
            scratch_.clear();
            for (; f < faces_.size() && faces_[f].edge == e; ++f) append(scratch_, faces_[f].code, 1);
            store(edges[e].stats, scratch_);
        }
        std::vector<Face>().swap(faces_);
    }

    void pool(Stats& into, const Stats& other) {
        const Index count = into.count + other.count;
        into.key = std::max(into.key, other.key);
        if (count <= few_) {
            into.place = merged(into, other, int(count));
            into.count = count;
            into.code = quantile(into);
            steps_ += few_;
            return;
        }
        Stats small = other;
        if (into.bins < small.bins) {
            std::swap(into.place, small.place);
            std::swap(into.bins, small.bins);
            std::swap(into.count, small.count);
        }
        if (count > limit())
            pool_many(into, small, count);
        else if (!into.bins)
            pool_few(into, small);
        else
            pool_into(into, small);
        into.count = count;
        into.code = quantile(into);
    }

    static bool same(const Stats& a, const Stats& b) { return a.count == b.count; }
    static int compare(const Stats& a, const Stats& b) { return int(a.code) - int(b.code); }
    static uint64_t level(const Stats& stats) { return stats.code; }
    static bool reaches(const Stats& stats, uint64_t floor) { return stats.code >= floor; }
    static double value(const Stats& stats, double) { return stats.code; }

    Stats adopt(const Quantile& from, const Stats& stats) {
        if (!stats.bins) return stats;
        Stats own = stats;
        own.place = take(size_class(stats.bins));
        const auto begin = from.arena_.begin() + stats.place;
        std::copy(begin, begin + (stats.bins == TABLE ? TABLE_SIZE : stats.bins), arena_.begin() + own.place);
        return own;
    }

    // An edge whose faces are already counted, from a list of codes and their numbers in ascending order.
    template <class Codes, class Counts>
    void fill(Stats& stats, const Codes* codes, const Counts* counts, size_t n) {
        scratch_.clear();
        stats.place = 0;
        int at = 0;
        for (size_t i = 0; i < n && stats.count <= few_; ++i)
            for (uint64_t k = 0; k < counts[i]; ++k) stats.place |= uint64_t(codes[i]) << at++ * code_bits_;
        if (stats.count <= few_) {
            stats.code = quantile(stats);
            return;
        }
        for (size_t i = 0; i < n; ++i) append(scratch_, codes[i], counts[i]);
        store(stats, scratch_);
    }

    // Calls see(code, count) for the codes of an edge in ascending order, the same code perhaps more than once.
    template <class See>
    void each_bin(const Stats& stats, See&& see) const {
        const uint32_t* bins = stats.bins ? arena_.data() + stats.place : nullptr;
        if (stats.bins == TABLE) {
            for (uint32_t code = 0; code < CODES; ++code)
                if (bins[GROUPS + code]) see(uint16_t(code), uint64_t(bins[GROUPS + code]));
        } else if (stats.bins) {
            for (uint32_t i = 0; i < stats.bins; ++i) see(uint16_t(code_of(bins[i])), uint64_t(bins[i] & limit()));
        } else {
            for (uint64_t i = 0; i < stats.count; ++i) see(uint16_t(few_code(stats.place, i)), uint64_t(1));
        }
    }

  private:
    struct Face {
        uint32_t edge;
        uint16_t code;
    };

    // A table has the sum of every 16 counts before them, so that a quantile is found in few steps. It needs no more
    // memory than the longest lists, and fewer steps than those of more than MOST bins.
    static constexpr uint32_t TABLE = uint32_t(-1), CODES = 256, GROUPS = 16, TABLE_SIZE = GROUPS + CODES, MOST = 64;
    static constexpr size_t TABLE_CLASS = 33;

    uint32_t limit() const { return (uint32_t(1) << count_bits_) - 1; }
    uint32_t code_of(uint32_t bin) const { return bin >> count_bits_; }
    uint64_t few_code(uint64_t codes, uint64_t i) const {
        return codes >> i * code_bits_ & ((uint64_t(1) << code_bits_) - 1);
    }

    void sort_few(Stats& stats) {
        std::array<uint16_t, 8> codes;
        for (uint64_t i = 0; i < stats.count; ++i) {
            const auto code = uint16_t(few_code(stats.place, i));
            uint64_t at = i;
            for (; at > 0 && codes[at - 1] > code; --at) codes[at] = codes[at - 1];
            codes[at] = code;
        }
        stats.place = 0;
        for (uint64_t i = 0; i < stats.count; ++i) stats.place |= uint64_t(codes[i]) << i * code_bits_;
        stats.code = quantile(stats);
    }

    // The faces that are kept aside by edge, those of an edge by code: sorted by the bytes of the code, then by edge.
    void sort_faces(size_t edges) {
        std::vector<Face> sorted(faces_.size());
        auto sort_by = [&](size_t keys, auto&& key) {
            std::vector<uint32_t> next(keys, 0);
            for (const Face& face : faces_) ++next[key(face)];
            uint32_t before = 0;
            for (auto& begin : next) before += std::exchange(begin, before);
            for (const Face& face : faces_) sorted[next[key(face)]++] = face;
            faces_.swap(sorted);
        };
        for (int byte = 0; 8 * byte < code_bits_; ++byte)
            sort_by(256, [&](const Face& face) { return face.code >> 8 * byte & 255; });
        sort_by(edges, [](const Face& face) { return face.edge; });
    }

    // A few codes of two edges in ascending order. Codes above the last are ones: none is smaller, so that each step
    // takes a code without asking how many are left.
    uint64_t merged(const Stats& one, const Stats& two, int count) const {
        const uint64_t mask = (uint64_t(1) << code_bits_) - 1, ones = mask << (64 - code_bits_);
        auto filled = [&](const Stats& stats) {
            return stats.count < few_ ? stats.place | ~uint64_t(0) << stats.count * code_bits_ : stats.place;
        };
        uint64_t a = filled(one), b = filled(two), codes = 0;
        for (int i = 0; i < count; ++i) {
            const uint64_t first = a & mask, second = b & mask;
            const bool take = first <= second;
            codes |= (take ? first : second) << i * code_bits_;
            a = take ? a >> code_bits_ | ones : a;
            b = take ? b : b >> code_bits_ | ones;
        }
        return codes;
    }

    // More than a few faces of two edges that have a few each.
    void pool_few(Stats& into, const Stats& other) {
        std::array<uint32_t, 8> bins;
        const uint32_t count = few_bins(other, bins);
        scratch_.clear();
        each_bin(into, [&](uint16_t code, uint64_t faces) { append(scratch_, code, faces); });
        into.bins = uint32_t(scratch_.size());
        into.place = take(size_class(into.bins));
        std::copy(scratch_.begin(), scratch_.end(), arena_.begin() + into.place);
        steps_ += few_;
        insert(into, bins.data(), count);
    }

    // Adds a histogram, or a few codes, to a histogram that has as many bins or more.
    void pool_into(Stats& into, const Stats& other) {
        std::array<uint32_t, 8> few;
        const uint32_t* bins = other.bins ? arena_.data() + other.place : few.data();
        const uint32_t count = other.bins ? other.bins : few_bins(other, few);
        if (other.bins == TABLE) {
            uint32_t* table = arena_.data() + into.place;
            for (uint32_t i = 0; i < TABLE_SIZE; ++i) table[i] += bins[i];
            steps_ += TABLE_SIZE;
        } else if (into.bins == TABLE) {
            for (uint32_t i = 0; i < count; ++i) count_in_table(into, bins[i]);
            steps_ += count;
        } else {
            insert(into, bins, count);
        }
        release(other);
    }

    // The same where a count may be too large for one bin.
    void pool_many(Stats& into, const Stats& other, Index count) {
        std::vector<uint32_t> own, others;
        each_bin(into, [&](uint16_t code, uint64_t faces) { append(own, code, faces); });
        each_bin(other, [&](uint16_t code, uint64_t faces) { append(others, code, faces); });
        scratch_.clear();
        steps_ += own.size() + others.size();
        for (size_t i = 0, j = 0; i < own.size() || j < others.size();) {
            const bool first = j == others.size() || (i < own.size() && code_of(own[i]) <= code_of(others[j]));
            const uint32_t bin = first ? own[i++] : others[j++];
            append(scratch_, code_of(bin), bin & limit());
        }
        release(into);
        release(other);
        into.count = count;
        store(into, scratch_);
    }

    uint32_t few_bins(const Stats& stats, std::array<uint32_t, 8>& bins) const {
        uint32_t count = 0;
        for (uint64_t i = 0; i < stats.count; ++i) {
            const auto code = uint32_t(few_code(stats.place, i));
            if (count && code_of(bins[count - 1]) == code)
                ++bins[count - 1];
            else
                bins[count++] = code << count_bits_ | 1;
        }
        return count;
    }

    // Adds bins to a list, in place. No count becomes too large for its bin.
    void insert(Stats& into, const uint32_t* bins, uint32_t count) {
        uint32_t* list = arena_.data() + into.place;
        const uint32_t size = into.bins;
        fresh_.clear();
        for (uint32_t i = 0, at = 0; i < count; ++i) {
            const uint32_t code = code_of(bins[i]);
            at = first_from(list, at, size, code << count_bits_);
            if (at < size && code_of(list[at]) == code)
                list[at] += bins[i] & limit();
            else
                fresh_.emplace_back(at, bins[i]);
        }
        steps_ += size + count;
        if (fresh_.empty()) return;
        const auto wanted = uint32_t(size + fresh_.size());
        if (code_bits_ == 8 && wanted > MOST) {
            make_table(into);
            for (const auto& [at, bin] : fresh_) count_in_table(into, bin);
            return;
        }
        if (size_class(wanted) > size_class(size)) {
            const uint64_t place = take(size_class(wanted));
            std::copy_n(arena_.data() + into.place, size, arena_.data() + place);
            release(into);
            into.place = place;
            list = arena_.data() + place;
        }
        into.bins = wanted;
        uint32_t* to = list + wanted;
        uint32_t last = size;
        for (size_t i = fresh_.size(); i-- > 0;) {
            const auto [at, bin] = fresh_[i];
            to = std::move_backward(list + at, list + last, to);
            *--to = bin;
            last = at;
        }
    }

    // The first of a list's bins from `at` on that is not below `bin`: step by step, or, in long lists, by ever longer
    // steps.
    static uint32_t first_from(const uint32_t* list, uint32_t at, uint32_t size, uint32_t bin) {
        if (size - at <= MOST) {
            while (at < size && list[at] < bin) ++at;
            return at;
        }
        uint32_t step = 1;
        for (; at + step < size && list[at + step] < bin; step *= 2) at += step;
        return uint32_t(std::lower_bound(list + at, list + std::min(size, at + step), bin) - list);
    }

    void make_table(Stats& stats) {
        const uint64_t place = take(TABLE_CLASS);
        std::fill_n(arena_.begin() + place, TABLE_SIZE, 0u);
        const Stats list = std::exchange(stats, {place, TABLE, stats.count, stats.key, stats.code});
        for (uint32_t i = 0; i < list.bins; ++i) count_in_table(stats, arena_[list.place + i]);
        release(list);
    }

    void count_in_table(const Stats& stats, uint32_t bin) {
        uint32_t* table = arena_.data() + stats.place;
        table[code_of(bin) / (CODES / GROUPS)] += bin & limit();
        table[GROUPS + code_of(bin)] += bin & limit();
    }

    void append(std::vector<uint32_t>& bins, uint32_t code, uint64_t count) const {
        while (count) {
            if (bins.empty() || code_of(bins.back()) != code || (bins.back() & limit()) == limit())
                bins.push_back(code << count_bits_);
            const uint64_t room = limit() - (bins.back() & limit()), taken = std::min(room, count);
            bins.back() += uint32_t(taken);
            count -= taken;
        }
    }

    void store(Stats& stats, const std::vector<uint32_t>& bins) {
        stats.bins = uint32_t(bins.size());
        stats.place = take(size_class(stats.bins));
        std::copy(bins.begin(), bins.end(), arena_.begin() + stats.place);
        if (code_bits_ == 8 && bins.size() > MOST && stats.count <= limit()) make_table(stats);
        stats.code = quantile(stats);
    }

    // Space in the arena, in pieces of a power of two and of the size of a table, which are used again.
    uint64_t take(size_t size) {
        if (free_.size() <= size) free_.resize(size + 1);
        if (!free_[size].empty()) {
            const uint64_t place = free_[size].back();
            free_[size].pop_back();
            return place;
        }
        const uint64_t place = arena_.size();
        arena_.resize(place + (size == TABLE_CLASS ? TABLE_SIZE : uint64_t(1) << size));
        return place;
    }

    void release(const Stats& stats) {
        if (!stats.bins) return;
        const size_t size = size_class(stats.bins);
        if (free_.size() <= size) free_.resize(size + 1);
        free_[size].push_back(stats.place);
    }

    static size_t size_class(uint32_t bins) {
        return bins == TABLE ? TABLE_CLASS : bins > 1 ? size_t(std::bit_width(bins - 1)) : 0;
    }

    uint16_t quantile(const Stats& stats) const {
        const uint64_t n = stats.count;
        const uint64_t rank = std::min(n, n / 100 * percent_ + n % 100 * percent_ / 100 + 1);
        if (!stats.bins) return uint16_t(few_code(stats.place, rank - 1));
        uint64_t seen = 0;
        const uint32_t* bin = arena_.data() + stats.place;
        if (stats.bins == TABLE) {
            uint32_t group = 0;
            while (seen + bin[group] < rank) seen += bin[group++];
            const uint32_t* counts = bin + GROUPS;
            uint32_t code = group * (CODES / GROUPS);
            while ((seen += counts[code]) < rank) ++code;
            return uint16_t(code);
        }
        while ((seen += *bin & limit()) < rank) ++bin;
        return uint16_t(code_of(*bin));
    }

    uint64_t percent_;
    int code_bits_, count_bits_;
    uint64_t few_;  // so many codes fit into `place`
    std::vector<uint32_t> arena_, scratch_;
    std::vector<std::vector<uint64_t>> free_;
    std::vector<Face> faces_;  // the first `aside_` are kept
    size_t aside_ = 0;
    std::vector<std::pair<uint32_t, uint32_t>> fresh_;  // bins that a list does not have yet, and where they belong
    Operations steps_;
};

}  // namespace neuropil
