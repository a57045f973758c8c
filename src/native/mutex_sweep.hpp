// Data structures of the mutex watershed: edges in the order of the sweep, and clusters that exclude each other.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "faces.hpp"
#include "voxel_forest.hpp"

namespace neuropil {

// Affinity channels with any offsets. Edge (channel, voxel) joins voxel and voxel + offset, and comes in the sweep at
// rank[channel * codes + code] (smaller is earlier, several codes of a channel may share a rank, channels may not),
// then in the order of voxels.
template <class Code>
struct SignedEdges {
    static constexpr uint32_t NEVER = uint32_t(-1);
    static constexpr uint32_t REPULSIVE = uint32_t(1) << 31;  // set in ranks of repulsive edges
    static constexpr uint64_t TOP = (uint64_t(1) << 23) - 1;  // no rank is above it

    Shape shape;
    std::vector<const Code*> channels;
    std::vector<std::array<int64_t, 3>> offsets;
    const uint32_t* rank;
    size_t codes;
    std::array<int64_t, 3> strides{1, 1, 1};  // thin the offsets longer than one voxel
    const uint8_t* mask = nullptr;            // 1 = use

    int64_t delta(size_t channel) const {
        const auto stride = shape.strides();
        return offsets[channel][Z] * stride[Z] + offsets[channel][Y] * stride[Y] + offsets[channel][X];
    }

    // Calls see(channel, first voxel, last voxel, step) for the edges stored in a row that stay in the volume.
    template <class See>
    void each_span(int64_t row, See&& see) const {
        const int64_t z = row / shape.y, y = row % shape.y;
        for (size_t e = 0; e < channels.size(); ++e) {
            const auto& o = offsets[e];
            if (z + o[Z] < 0 || z + o[Z] >= shape.z || y + o[Y] < 0 || y + o[Y] >= shape.y) continue;
            const bool thinned = std::abs(o[Z]) + std::abs(o[Y]) + std::abs(o[X]) > 1;
            if (thinned && (z % strides[Z] || y % strides[Y])) continue;
            const int64_t step = thinned ? strides[X] : 1, first = std::max<int64_t>(0, -o[X]);
            see(e, row * shape.x + (first + step - 1) / step * step, row * shape.x + std::min(shape.x, shape.x - o[X]),
                step);
        }
    }
};

// An edge waiting for the sweep. With few ranks, edges of one rank are stored together and share their channel.
struct NearEdge {
    uint32_t packed;  // voxel, and REPULSIVE

    static NearEdge make(uint32_t rank, int64_t voxel) { return {uint32_t(voxel) | (rank & uint32_t(1) << 31)}; }
    int64_t voxel() const { return packed & ~(uint32_t(1) << 31); }
    bool repulsive() const { return packed >> 31; }
};

struct RankedEdge {
    uint64_t packed;  // rank, voxel, and whether it repels: in the order of the sweep

    static RankedEdge make(uint32_t rank, int64_t voxel) {
        return {uint64_t(rank & ~(uint32_t(1) << 31)) << 41 | uint64_t(voxel) << 1 | (rank >> 31)};
    }
    int64_t voxel() const { return packed >> 1 & ((int64_t(1) << 40) - 1); }
    bool repulsive() const { return packed & 1; }
    uint32_t rank() const { return uint32_t(packed >> 41); }
    bool operator<(const RankedEdge& other) const { return packed < other.packed; }
};

// Which clusters exclude each other. A cluster has a linked list with a voxel of each cluster it excludes, perhaps more
// than once; lists are concatenated in constant time. The shorter list is searched only when two clusters are about to
// unite. Results are cached until another pair takes their place; they are valid as long as both voxels are roots.
template <class Index>
class Exclusions {
  public:
    Exclusions(VoxelForest<Index>& forest, int64_t voxels, const Run& run)
        : forest_(forest),
          run_(run),
          list_(voxels),
          shift_(64 - std::clamp(int(std::bit_width(uint64_t(voxels))) - 5, 8, 22)) {
        known_.resize(size_t(1) << (64 - shift_), 0);
    }

    // Both are roots, here and below.
    void exclude(Index a, Index b) {
        if (!learn(a, b)) return;
        append(a, b);
        append(b, a);
    }

    bool exclude_each_other(Index a, Index b) {
        if (!list_[a].count || !list_[b].count) return false;
        const uint64_t both = pair(a, b);
        if (known_[slot(both)] == both) return true;
        if (list_[a].count > list_[b].count) std::swap(a, b);
        if (!search(list_[a], b)) return false;
        known_[slot(both)] = both;
        return true;
    }

    // Adds the exclusions of `gone` to `kept`, after the two have united.
    void join(Index kept, Index gone) {
        List &to = list_[kept], &from = list_[gone];
        if (!from.count) return;
        if (to.count)
            nodes_[to.last].next = from.first;
        else
            to.first = from.first;
        to.last = from.last;
        to.count += from.count;
    }

    void prefetch(Index root) const { prefetch_to_write(&list_[root]); }

  private:
    struct List {
        uint32_t first = 0, last = 0, count = 0;
    };
    struct Node {
        Index voxel;
        uint32_t next;
    };

    static uint64_t pair(Index a, Index b) { return uint64_t(std::min(a, b)) << 32 | std::max(a, b); }
    size_t slot(uint64_t pair) const { return size_t((pair * 0x9E3779B97F4A7C15u) >> shift_); }

    // False if the pair is known already.
    bool learn(Index a, Index b) {
        const uint64_t both = pair(a, b);
        uint64_t& known = known_[slot(both)];
        return known != both && (known = both, true);
    }

    void append(Index root, Index voxel) {
        List& list = list_[root];
        if (nodes_.size() == uint32_t(-1)) throw std::length_error("more exclusions than the mutex watershed can hold");
        const uint32_t node = uint32_t(nodes_.size());
        nodes_.push_back({voxel, list.first});
        if (!list.count++) list.last = node;
        list.first = node;
    }

    // Whether the list has `other`; if so, moves it to the front.
    bool search(List& list, Index other) {
        uint32_t before = list.first, node = list.first;
        for (uint32_t seen = 0; seen < list.count; ++seen, before = node, node = nodes_[node].next) {
            if (seen % 65536 == 65535) run_.check();
            const Index root = nodes_[node].voxel = forest_.find(nodes_[node].voxel);
            if (root != other) continue;
            if (node == list.first) return true;
            nodes_[before].next = nodes_[node].next;
            if (node == list.last) list.last = before;
            nodes_[node].next = list.first;
            list.first = node;
            return true;
        }
        return false;
    }

    VoxelForest<Index>& forest_;
    const Run& run_;
    std::vector<List> list_;
    std::vector<Node> nodes_;
    const int shift_;
    std::vector<uint64_t> known_;  // pairs of roots
};

}  // namespace neuropil
