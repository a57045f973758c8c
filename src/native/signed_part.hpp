// The mutex watershed on one part of a graph of fragments, some of which have edges that this part does not know.
//
// Edges come in the order of the sweep. A region is free while all its earlier edges are known and decided; so an edge
// between two free regions is decided as in the whole graph. An attractive edge to a region that is not free stays
// undecided, and both its regions are not free from then on. A repulsive edge can be decided if one region is free:
// that region is complete so far and does not contain the other, so the two exclude each other in any case.
#pragma once
#include <algorithm>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <utility>
#include <vector>

#include "mutex_sweep.hpp"
#include "parallel.hpp"

namespace neuropil {

// An edge of a part; ranks as in SignedEdges.
struct PartEdge {
    uint32_t a, b, rank;
    uint64_t voxel;

    static constexpr uint32_t REPULSIVE = uint32_t(1) << 31;
    bool operator<(const PartEdge& other) const {
        const uint32_t r = rank & ~REPULSIVE, s = other.rank & ~REPULSIVE;
        return r != s ? r < s : voxel < other.voxel;
    }
};

class SignedPart {
  public:
    using Pairs = std::vector<std::pair<uint32_t, uint32_t>>;

    // `waits`: regions that are not free, and so are deferred; those found not to be free are added.
    SignedPart(std::vector<uint8_t>& waits, const Run& run)
        : waits_(waits), run_(run), cells_(waits.size()), forest_(cells_.data()), exclusions_(forest_, size(), run) {
        if (waits.size() >= size_t(1) << 31) throw std::length_error("too many regions for one block");
        for (int64_t v = 0; v < size(); ++v) forest_.root(v);
    }

    void exclude(uint32_t a, uint32_t b) {
        a = forest_.find(a), b = forest_.find(b);
        if (a == b || exclusions_.exclude_each_other(a, b)) return;
        exclusions_.exclude(a, b);
        excluded_.emplace_back(a, b);
    }

    // Returns the edges that are left.
    std::vector<PartEdge> sweep(std::vector<PartEdge> edges) {
        sort_checked(run_, edges.begin(), edges.end(), std::less<>());
        size_t left = 0;
        for (size_t i = 0; i < edges.size(); ++i) {
            if (i % 4096 == 0) run_.check();
            const PartEdge edge = edges[i];
            if (edge.rank == uint32_t(-1)) break;  // no weight
            if (!decide(edge)) edges[left++] = edge;
        }
        edges.resize(left);
        for (PartEdge& edge : edges) edge.a = forest_.find(edge.a), edge.b = forest_.find(edge.b);
        return edges;
    }

    // The smallest region of each region's cluster.
    std::vector<uint64_t> clusters() {
        std::vector<uint64_t> found(waits_.size());
        for (size_t i = 0; i < found.size(); ++i) found[i] = forest_.find(uint32_t(i));
        return found;
    }

    // Clusters that exclude each other and may both still grow, each pair once.
    Pairs excluded() {
        Pairs found;
        for (auto [a, b] : excluded_) {
            a = forest_.find(a), b = forest_.find(b);
            if (waits_[a] && waits_[b]) found.emplace_back(std::min(a, b), std::max(a, b));
        }
        std::sort(found.begin(), found.end());
        found.erase(std::unique(found.begin(), found.end()), found.end());
        return found;
    }

  private:
    int64_t size() const { return int64_t(waits_.size()); }

    // False if the edge is left to a larger part.
    bool decide(const PartEdge& edge) {
        const uint32_t a = forest_.find(edge.a), b = forest_.find(edge.b);
        if (a == b || exclusions_.exclude_each_other(a, b)) return true;
        if (edge.rank & PartEdge::REPULSIVE) {
            if (waits_[a] && waits_[b]) return false;
            exclusions_.exclude(a, b);
            excluded_.emplace_back(a, b);
            return true;
        }
        if (waits_[a] || waits_[b]) {
            waits_[a] = waits_[b] = 1;
            return false;
        }
        const uint32_t kept = forest_.unite(a, b);
        exclusions_.join(kept, kept == a ? b : a);
        return true;
    }

    std::vector<uint8_t>& waits_;
    const Run& run_;
    std::vector<uint32_t> cells_;
    VoxelForest<uint32_t> forest_;
    Exclusions<uint32_t> exclusions_;
    Pairs excluded_;
};

}  // namespace neuropil
