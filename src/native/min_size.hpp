// Minimum size: the smallest segment joins its best neighbour, until none is too small. Runs on the graph of a cut.
#pragma once
#include <array>
#include <bit>
#include <numeric>
#include <stdexcept>
#include <utility>
#include <vector>

#include "agglomerate.hpp"

namespace neuropil {

// The graph between segments, from the graph between fragments and the segment of each fragment; several edges may
// join two segments.
template <class Score>
std::vector<LocalEdge<Score>> contract_edges(const std::vector<Edge<Score>>& edges,
                                             const typename Score::Index* segment_of, const Run& run) {
    std::vector<LocalEdge<Score>> kept;
    each_chunk(run, int64_t(edges.size()), [&](int64_t begin, int64_t end) {
        for (int64_t e = begin; e < end; ++e) {
            const auto& edge = edges[e];
            const uint32_t a = uint32_t(segment_of[edge.a]), b = uint32_t(segment_of[edge.b]);
            if (a != b && a && b) kept.push_back({std::min(a, b), std::max(a, b), edge.stats});
        }
    });
    return kept;
}

// Segments, of which the smallest joins its best neighbour until none is too small. A united segment keeps the edge
// lists of its segments and reads them only when it is the smallest itself. It is then at least twice as large as the
// one that joined, so an edge is read at most once for every doubling of the segments at its ends.
template <class Score>
class SmallSegments {
  public:
    using Index = typename Score::Index;
    static constexpr uint32_t NONE = uint32_t(-1);
    static constexpr uint64_t DROPPED = uint64_t(-1);  // the size of one without neighbours

    SmallSegments(std::vector<LocalEdge<Score>> edges, Score& score, std::vector<uint64_t> size, uint64_t min_size)
        : edges_(std::move(edges)),
          score_(score),
          size_(std::move(size)),
          min_size_(min_size),
          names_(uint32_t(size_.size() - 1)),
          begin_(size_.size() + 1, 0),
          next_(size_.size(), NONE),
          last_(size_.size()),
          seen_(size_.size(), NONE) {
        if (edges_.size() >= NONE / 2) throw std::length_error("more than 2^31 edges in one graph");
        std::iota(last_.begin(), last_.end(), 0u);
        for (const auto& edge : edges_) ++begin_[edge.a], ++begin_[edge.b];
        std::partial_sum(begin_.begin(), begin_.end(), begin_.begin());
        own_.resize(begin_.back());
        for (uint32_t e = uint32_t(edges_.size()); e-- > 0;)
            own_[--begin_[edges_[e].a]] = own_[--begin_[edges_[e].b]] = e;
    }

    // The final segment of each segment, 0 if it was too small and had no neighbour. Segments whose sizes have the same
    // number of bits are sorted together, since a united segment has more bits.
    std::vector<Index> operator()(const Run& run) {
        std::array<std::vector<std::pair<uint64_t, uint32_t>>, 65> by_bits;
        auto enter = [&](uint32_t s) {
            if (size_[s] < min_size_) by_bits[std::bit_width(size_[s])].emplace_back(size_[s], s);
        };
        for (uint32_t s = 1; s < size_.size(); ++s) enter(s);
        for (auto& entries : by_bits) {
            sort_checked(run, entries.begin(), entries.end(), std::less<>());
            for (size_t i = 0; i < entries.size(); ++i) {
                if (i % 4096 == 0) run.check();
                const auto [voxels, s] = entries[i];
                if (names_.find(s) == s && size_[s] == voxels) enter(join(s));
            }
        }
        std::vector<Index> result(size_.size(), 0);
        for (uint32_t s = 1; s < size_.size(); ++s) result[s] = size_[names_.find(s)] == DROPPED ? 0 : names_.find(s);
        return result;
    }

  private:
    // Unites a segment with its best neighbour, to one that is named by the smaller of the two.
    uint32_t join(uint32_t s) {
        const uint32_t best = best_edge(s);
        if (best == NONE) {
            size_[s] = DROPPED;
            return s;
        }
        const uint32_t p = names_.find(edges_[best].a), q = names_.find(edges_[best].b);
        const auto [a, b] = std::minmax(p, q);
        names_.unite(a, b);
        size_[a] += size_[b];
        next_[last_[a]] = b;
        last_[a] = last_[b];
        return a;
    }

    // Several edges to one neighbour are pooled. All edges are prefetched before the first is read.
    uint32_t best_edge(uint32_t s) {
        found_.clear();
        for (uint32_t member = s; member != NONE; member = next_[member])
            for (uint32_t i = begin_[member]; i < begin_[member + 1]; ++i) {
                __builtin_prefetch(&edges_[own_[i]], 1);
                found_.push_back(own_[i]);
            }
        steps_ += found_.size();
        around_.clear();
        for (const uint32_t e : found_) {
            LocalEdge<Score>& edge = edges_[e];
            if (!edge.a) continue;
            const uint32_t p = names_.find(edge.a), q = names_.find(edge.b), other = p == s ? q : p;
            if (other == s) {
                edge.a = 0;
            } else if (seen_[other] == NONE) {
                seen_[other] = e;
                around_.push_back(other);
            } else {
                score_.pool(edges_[seen_[other]].stats, edge.stats);
                edge.a = 0;
            }
        }
        uint32_t best = NONE;
        for (const uint32_t other : around_) {
            const uint32_t e = std::exchange(seen_[other], NONE);
            if (best == NONE || better<Score>(edges_[e].stats, edges_[best].stats)) best = e;
        }
        return best;
    }

    std::vector<LocalEdge<Score>> edges_;  // a is 0 where they are gone
    Score& score_;
    std::vector<uint64_t> size_;
    const uint64_t min_size_;
    Names<uint32_t> names_;
    std::vector<uint32_t> begin_, own_;    // where the edges of each segment begin, and these
    std::vector<uint32_t> next_, last_;    // segments that are one: the next of each, the last of those named so
    std::vector<uint32_t> seen_, around_;  // the edge to a neighbour, while edges are pooled; those that have one
    std::vector<uint32_t> found_;
    Operations steps_;
};

// The final segment of each segment, 0 if it was too small and had no neighbour. Segments are numbered 1..n in the
// order of their smallest fragment, so that ties are decided by the smallest fragment.
template <class Score>
std::vector<typename Score::Index> absorb_small(std::vector<LocalEdge<Score>> edges, Score& score,
                                                std::vector<uint64_t> size, uint64_t min_size, const Run& run) {
    return SmallSegments<Score>(std::move(edges), score, std::move(size), min_size)(run);
}

// The segment of each fragment 0 … n, from its region and the remaining edges (see BandMerger::regions): numbered from
// 1 in the order of their smallest fragments, those with fewer voxels than `min_size` joined or 0. `voxels` are the
// sizes of fragments; not read if no segment can be too small.
template <class Score>
std::vector<typename Score::Index> segments_of(const std::vector<typename Score::Index>& region,
                                               std::vector<Part<Score>> parts, Score score,
                                               const std::vector<uint64_t>& voxels, uint64_t min_size, const Run& run) {
    using Index = typename Score::Index;
    std::vector<Index> segment(region.size(), 0);
    Index count = 0;
    for (size_t f = 1; f < region.size(); ++f) segment[f] = region[f] == f ? ++count : segment[region[f]];
    if (min_size <= 1) return segment;
    std::vector<uint64_t> sizes(size_t(count) + 1, 0);
    for (size_t f = 1; f < region.size(); ++f) sizes[segment[f]] += voxels[f];
    std::vector<LocalEdge<Score>> edges;
    for (auto& part : parts) {
        run.check();
        for (const auto& edge : part.edges) {
            const uint32_t a = uint32_t(segment[edge.a]), b = uint32_t(segment[edge.b]);
            if (a != b) edges.push_back({std::min(a, b), std::max(a, b), score.adopt(part.score, edge.stats)});
        }
        part = Part<Score>{score.empty(), {}};
    }
    const auto joined = absorb_small(std::move(edges), score, std::move(sizes), min_size, run);
    std::vector<Index> number(size_t(count) + 1, 0);
    Index next = 0;
    for (size_t s = 1; s < number.size(); ++s) number[s] = joined[s] == s ? ++next : number[joined[s]];
    for (Index& s : segment) s = number[s];
    return segment;
}

}  // namespace neuropil
