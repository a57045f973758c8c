// Scores: the statistics that an edge keeps of its faces, and which of two edges is better; one small class per score.
//
// All classes have the same contract. Statistics of parts of an edge, and of edges that become one, pool into those of
// all their faces, in any order. `key` is the largest face index. Pooling two edges never gives a better edge than the
// better of the two, in the order (score descending, smaller key first); exact merging in parts depends on this.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "operations.hpp"

namespace neuropil {

using Wide = unsigned __int128;

// The mean, as an exact rational of fixed-point values.
template <class I>
class Mean {
  public:
    using Index = I;
    struct Stats {
        uint64_t sum = 0;
        Index count = 0, key = 0;
    };

    explicit Mean(int = 0, int = 0) {}

    static void add_face(Stats& stats, uint16_t, uint32_t value, Index key) {
        stats.sum += value;
        ++stats.count;
        stats.key = std::max(stats.key, key);
    }
    static void pool(Stats& into, const Stats& other) {
        into.sum += other.sum;
        into.count += other.count;
        into.key = std::max(into.key, other.key);
    }
    static bool same(const Stats& a, const Stats& b) { return a.count == b.count; }
    static int compare(const Stats& a, const Stats& b) {
        const Wide left = Wide(a.sum) * b.count, right = Wide(b.sum) * a.count;
        return left > right ? 1 : left < right ? -1 : 0;
    }

    // An integer that is monotonic in the score, and whether it is at least `floor`. Levels are means of 32-bit values
    // and so have 32 bits.
    static uint64_t level(const Stats& stats) { return stats.sum / stats.count; }
    static bool reaches(const Stats& stats, uint64_t floor) { return stats.sum >= floor * stats.count; }

    // The exact rational, rounded once to 64 bits and once to 53, both of which keep order.
    static double value(const Stats& stats, double scale) {
        return double((long double)(stats.sum) / ((long double)(stats.count) * (long double)(scale)));
    }

    // Called for single faces, for scores that need more than sums.
    static void record(uint32_t, uint16_t) {}
    template <class Edges>
    static void finish(Edges&) {}

    // Copies stats of another score object into this one; and makes a score object without stored stats.
    static Stats adopt(const Mean&, const Stats& stats) { return stats; }
    static Mean empty() { return Mean(); }
};

// The largest or the smallest code.
template <class I, bool LARGEST>
class Extreme {
  public:
    using Index = I;
    struct Stats {
        Index key = 0;
        uint16_t code = LARGEST ? 0 : 0xffff;
    };

    explicit Extreme(int = 0, int = 0) {}

    static void add_face(Stats& stats, uint16_t code, uint32_t, Index key) { pool(stats, {key, code}); }
    static void pool(Stats& into, const Stats& other) {
        into.key = std::max(into.key, other.key);
        into.code = LARGEST ? std::max(into.code, other.code) : std::min(into.code, other.code);
    }
    static bool same(const Stats& a, const Stats& b) { return a.code == b.code && a.key == b.key; }
    static int compare(const Stats& a, const Stats& b) { return int(a.code) - int(b.code); }
    static uint64_t level(const Stats& stats) { return stats.code; }
    static bool reaches(const Stats& stats, uint64_t floor) { return stats.code >= floor; }
    static double value(const Stats& stats, double) { return stats.code; }
    static void record(uint32_t, uint16_t) {}
    template <class Edges>
    static void finish(Edges&) {}
    static Stats adopt(const Extreme&, const Stats& stats) { return stats; }
    static Extreme empty() { return Extreme(); }
};

// The code of rank min(n, n * percent / 100 + 1) among n faces in ascending order. A few codes are kept in the stats
// themselves, ascending. More are a histogram: a sorted list of bins in one arena; a bin holds a code in its upper bits
// and a count below, and a count too large for one bin takes several.
template <class I>
class Quantile {
  public:
    using Index = I;
    struct Stats {
        uint64_t place = 0;  // where the bins begin; where there are none, the codes themselves, the smallest lowest
        uint32_t bins = 0;
        Index count = 0, key = 0;
        uint16_t code = 0;
    };

    explicit Quantile(int percent, int code_bits)
        : percent_(percent), code_bits_(code_bits), count_bits_(32 - code_bits), few_(64 / code_bits) {}

    static void add_face(Stats& stats, uint16_t, uint32_t, Index key) {
        ++stats.count;
        stats.key = std::max(stats.key, key);
    }

    // The same score with nothing stored.
    Quantile empty() const { return Quantile(int(percent_), code_bits_); }

    void record(uint32_t edge, uint16_t code) { faces_.emplace_back(edge, code); }

    // What edges hold, from their recorded faces.
    template <class Edges>
    void finish(Edges& edges) {
        std::vector<size_t> start(edges.size() + 1, 0);
        for (size_t e = 0; e < edges.size(); ++e) start[e + 1] = start[e] + edges[e].stats.count;
        std::vector<uint16_t> codes(faces_.size());
        for (const auto& [edge, code] : faces_) codes[start[edge]++] = code;  // start[e] becomes the end of edge e
        std::vector<std::pair<uint32_t, uint16_t>>().swap(faces_);
        std::vector<uint32_t> bins;
        size_t begin = 0;
        for (size_t e = 0; e < edges.size(); ++e) {
            Stats& stats = edges[e].stats;
            std::sort(codes.begin() + begin, codes.begin() + start[e]);
            bins.clear();
            if (stats.count <= few_) {
                for (int i = 0; begin < start[e]; ++begin, ++i) stats.place |= uint64_t(codes[begin]) << i * code_bits_;
                stats.code = quantile(stats);
                continue;
            }
            for (; begin < start[e]; ++begin) append(bins, codes[begin], 1);
            store(stats, bins);
        }
    }

    void pool(Stats& into, const Stats& other) {
        const Index count = into.count + other.count;
        into.key = std::max(into.key, other.key);
        if (count <= few_) {
            into.place = merged(into, other);
            into.count = count;
            into.code = quantile(into);
            steps_ += few_;
            return;
        }
        scratch_.clear();
        Bins a(*this, into), b(*this, other);
        steps_ += a.left() + b.left();
        while (a.left() || b.left()) {
            const bool first = !b.left() || (a.left() && a.code() <= b.code());
            Bins& next = first ? a : b;
            append(scratch_, next.code(), next.count());
            next.step();
        }
        release(into);
        release(other);
        into.count = count;
        store(into, scratch_);
    }

    static bool same(const Stats& a, const Stats& b) { return a.count == b.count; }
    static int compare(const Stats& a, const Stats& b) { return int(a.code) - int(b.code); }
    static uint64_t level(const Stats& stats) { return stats.code; }
    static bool reaches(const Stats& stats, uint64_t floor) { return stats.code >= floor; }
    static double value(const Stats& stats, double) { return stats.code; }

    Stats adopt(const Quantile& from, const Stats& stats) {
        if (!stats.bins) return stats;
        Stats own = stats;
        const uint32_t* bins = from.arena_.data() + stats.place;
        scratch_.assign(bins, bins + stats.bins);
        store(own, scratch_);
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
        for (Bins bins(*this, stats); bins.left(); bins.step()) see(uint16_t(bins.code()), bins.count());
    }

  private:
    // The codes of an edge in ascending order, wherever they are kept.
    class Bins {
      public:
        Bins(const Quantile& score, const Stats& stats)
            : score_(score),
              bin_(stats.bins ? score.arena_.data() + stats.place : nullptr),
              codes_(stats.place),
              left_(stats.bins ? stats.bins : uint32_t(stats.count)) {}

        uint32_t left() const { return left_; }
        uint32_t code() const {
            return bin_ ? *bin_ >> score_.count_bits_ : uint32_t(codes_) & ((1u << score_.code_bits_) - 1);
        }
        uint32_t count() const { return bin_ ? *bin_ & score_.limit() : 1; }
        void step() {
            --left_;
            bin_ ? void(++bin_) : void(codes_ >>= score_.code_bits_);
        }

      private:
        const Quantile& score_;
        const uint32_t* bin_;
        uint64_t codes_;
        uint32_t left_;
    };

    uint32_t limit() const { return (uint32_t(1) << count_bits_) - 1; }

    // A few codes of two edges in ascending order.
    uint64_t merged(const Stats& one, const Stats& two) const {
        Bins a(*this, one), b(*this, two);
        uint64_t codes = 0;
        for (int at = 0; a.left() || b.left(); at += code_bits_) {
            Bins& next = !b.left() || (a.left() && a.code() <= b.code()) ? a : b;
            codes |= uint64_t(next.code()) << at;
            next.step();
        }
        return codes;
    }

    void append(std::vector<uint32_t>& bins, uint32_t code, uint64_t count) const {
        while (count) {
            if (bins.empty() || (bins.back() >> count_bits_) != code || (bins.back() & limit()) == limit())
                bins.push_back(code << count_bits_);
            const uint64_t room = limit() - (bins.back() & limit()), taken = std::min(room, count);
            bins.back() += uint32_t(taken);
            count -= taken;
        }
    }

    // Lists live in the arena in pieces of a power of two, which are used again.
    void store(Stats& stats, const std::vector<uint32_t>& bins) {
        const size_t size = size_class(bins.size());
        if (free_.size() <= size) free_.resize(size + 1);
        if (free_[size].empty()) {
            stats.place = arena_.size();
            arena_.resize(arena_.size() + (size_t(1) << size));
        } else {
            stats.place = free_[size].back();
            free_[size].pop_back();
        }
        std::copy(bins.begin(), bins.end(), arena_.begin() + stats.place);
        stats.bins = uint32_t(bins.size());
        stats.code = quantile(stats);
    }

    void release(const Stats& stats) {
        if (stats.bins) free_[size_class(stats.bins)].push_back(stats.place);
    }

    static size_t size_class(size_t bins) { return bins > 1 ? std::bit_width(bins - 1) : 0; }

    uint16_t quantile(const Stats& stats) const {
        const uint64_t n = stats.count;
        const uint64_t rank = std::min(n, n / 100 * percent_ + n % 100 * percent_ / 100 + 1);
        if (!stats.bins) return uint16_t(stats.place >> (rank - 1) * code_bits_ & ((1u << code_bits_) - 1));
        uint64_t seen = 0;
        const uint32_t* bin = arena_.data() + stats.place;
        while ((seen += *bin & limit()) < rank) ++bin;
        return uint16_t(*bin >> count_bits_);
    }

    uint64_t percent_;
    int code_bits_, count_bits_;
    uint64_t few_;  // so many codes fit into `place`
    std::vector<uint32_t> arena_, scratch_;
    std::vector<std::vector<uint64_t>> free_;
    std::vector<std::pair<uint32_t, uint16_t>> faces_;
    Operations steps_;
};

// Whether an edge comes before another.
template <class Score>
bool better(const typename Score::Stats& a, const typename Score::Stats& b) {
    const int order = Score::compare(a, b);
    return order ? order > 0 : a.key < b.key;
}

// An edge between two regions, a < b. In a volume regions are named by their smallest fragment; in a graph that is
// being worked on they are numbered, in 32 bits.
template <class Score, class Name = typename Score::Index>
struct Edge {
    Name a, b;
    typename Score::Stats stats;
};

template <class Score>
using LocalEdge = Edge<Score, uint32_t>;

// Edges between regions named by their smallest fragments, and the score object that owns their stats.
template <class Score>
struct Part {
    Score score;
    std::vector<Edge<Score>> edges;
};

}  // namespace neuropil
