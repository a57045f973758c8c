// Scores: the statistics that an edge keeps of its faces, and which of two edges is better; one small class per score,
// quantiles in a file of their own.
//
// All classes have the same contract. Statistics of parts of an edge, and of edges that become one, pool into those of
// all their faces, in any order. `key` is the largest face index. Pooling two edges never gives a better edge than the
// better of the two, in the order (score descending, smaller key first); exact merging in parts depends on this.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "quantile.hpp"

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

    static void add_face(Stats& stats, uint32_t, uint16_t, uint32_t value, Index key) {
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

    // Called once all faces of a list of edges are added, for scores that need more than sums.
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

    static void add_face(Stats& stats, uint32_t, uint16_t code, uint32_t, Index key) { pool(stats, {key, code}); }
    static void pool(Stats& into, const Stats& other) {
        into.key = std::max(into.key, other.key);
        into.code = LARGEST ? std::max(into.code, other.code) : std::min(into.code, other.code);
    }
    static bool same(const Stats& a, const Stats& b) { return a.code == b.code && a.key == b.key; }
    static int compare(const Stats& a, const Stats& b) { return int(a.code) - int(b.code); }
    static uint64_t level(const Stats& stats) { return stats.code; }
    static bool reaches(const Stats& stats, uint64_t floor) { return stats.code >= floor; }
    static double value(const Stats& stats, double) { return stats.code; }
    template <class Edges>
    static void finish(Edges&) {}
    static Stats adopt(const Extreme&, const Stats& stats) { return stats; }
    static Extreme empty() { return Extreme(); }
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
