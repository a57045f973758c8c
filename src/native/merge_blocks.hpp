// Agglomeration of a volume in blocks that fit into the processor's cache, on all cores, with the tree of the whole.
#pragma once
#include <algorithm>
#include <utility>
#include <vector>

#include "agglomerate.hpp"
#include "faces.hpp"
#include "merge_bands.hpp"
#include "region_graph.hpp"

namespace neuropil {

// A grid of boxes over a volume.
class Grid {
  public:
    Grid(const Shape& shape, std::array<int64_t, 3> block) : extent_{shape.z, shape.y, shape.x}, block_(block) {
        for (int axis : {Z, Y, X}) count_[axis] = std::max<int64_t>(1, (extent_[axis] + block[axis] - 1) / block[axis]);
    }

    int64_t size() const { return count_[Z] * count_[Y] * count_[X]; }

    Box box(int64_t i) const {
        const std::array<int64_t, 3> at{i / (count_[Y] * count_[X]), i / count_[X] % count_[Y], i % count_[X]};
        Box box;
        for (int axis : {Z, Y, X}) {
            box.start[axis] = at[axis] * block_[axis];
            box.stop[axis] = std::min(extent_[axis], box.start[axis] + block_[axis]);
        }
        return box;
    }

  private:
    std::array<int64_t, 3> extent_, block_, count_;
};

template <class Score>
class BlockMerger {
  public:
    using Index = typename Score::Index;

    BlockMerger(const AnyFaces& faces, const Index* fragments, Index count, const uint32_t* value, uint64_t top,
                Score score, std::array<int64_t, 3> block, const Run& run)
        : faces_(faces),
          fragments_(fragments),
          value_(value),
          top_(top),
          score_(score),
          grid_(faces.shape, block),
          count_(count),
          grain_(size_t(std::max<int64_t>(1, block[Z] * block[Y] * block[X] / VOXELS_PER_EDGE))),
          run_(run) {}

    // For a volume that is a part of a larger one, as BandMerger::part, by fragments from 1.
    Part<Score> part(std::vector<uint8_t>& blocked, const Reaches<Score>& enough, std::vector<Merge<Score>>& merges) {
        return bands().part(blocked, enough, merges);
    }

    // The merges of the whole tree, in order.
    std::vector<Merge<Score>> operator()() { return sort_merges(bands()(), top_, run_); }

  private:
    static constexpr int64_t VOXELS_PER_EDGE = 13;  // a block of 32 x 16 x 256 voxels stands for 10,000 edges

    // Blocks are scanned, their graphs merged in bands.
    BandMerger<Score> bands() const {
        std::vector<Part<Score>> parts(grid_.size(), Part<Score>{score_, {}});
        parallel_for(run_, int64_t(parts.size()), [&](int64_t i) { parts[i] = scan(grid_.box(i)); }, "scan blocks");
        return BandMerger<Score>(std::move(parts), count_, top_, score_, grain_, run_);
    }

    // The fragments of a box numbered within it (0 stays 0), with one voxel before it on each axis where there is one.
    struct Numbered {
        NameTable<Index> names;
        std::vector<uint32_t> number;
        std::array<int64_t, 3> first, stride;
    };

    Numbered number_box(const Box& box) const {
        const auto whole = faces_.shape.strides();
        std::array<int64_t, 3> n;
        Numbered in{NameTable<Index>((box.stop[Z] - box.start[Z]) * (box.stop[Y] - box.start[Y])), {}, {}, {}};
        for (int axis : {Z, Y, X}) {
            in.first[axis] = std::max<int64_t>(0, box.start[axis] - 1);
            n[axis] = box.stop[axis] - in.first[axis];
        }
        in.stride = {n[Y] * n[X], n[X], 1};
        in.number.resize(n[Z] * n[Y] * n[X]);
        in.names.add(0);
        for (int64_t z = 0; z < n[Z]; ++z) {
            run_.check();
            for (int64_t y = 0; y < n[Y]; ++y) {
                const Index* row =
                    fragments_ + (in.first[Z] + z) * whole[Z] + (in.first[Y] + y) * whole[Y] + in.first[X];
                uint32_t* out = in.number.data() + z * in.stride[Z] + y * in.stride[Y];
                const Index* above = y ? row - whole[Y] : row;
                const uint32_t* known = y ? out - in.stride[Y] : out;
                for (int64_t x = 0; x < n[X]; ++x) {
                    if (x && row[x] == row[x - 1])
                        out[x] = out[x - 1];
                    else if (y && row[x] == above[x])
                        out[x] = known[x];
                    else
                        out[x] = in.names.add(row[x]);
                }
            }
        }
        return in;
    }

    // The edges whose faces have their upper voxel in the box.
    Part<Score> scan(const Box& box) const {
        Numbered in = number_box(box);
        Score score = score_;
        EdgeTable<LocalEdge<Score>, uint32_t> table(4 * in.names.names().size());
        scan_faces(faces_, in.number.data(), in.stride, in.first, value_, box, score, table, run_);
        score.finish(table.edges());
        Part<Score> part{score_, {}};
        part.edges.reserve(table.edges().size());
        for (const auto& edge : table.edges()) {
            const auto [a, b] = std::minmax(in.names.names()[edge.a], in.names.names()[edge.b]);
            part.edges.push_back({a, b, part.score.adopt(score, edge.stats)});
        }
        return part;
    }

    const AnyFaces faces_;
    const Index* fragments_;
    const uint32_t* value_;
    const uint64_t top_;
    const Score score_;
    const Grid grid_;
    const Index count_;
    const size_t grain_;
    const Run& run_;
};

}  // namespace neuropil
