// Agglomeration of a volume in blocks that fit into the CPU cache, on all cores, with the same tree as in one piece.
#pragma once
#include <algorithm>
#include <utility>
#include <vector>

#include "agglomerate.hpp"
#include "faces.hpp"
#include "merge_bands.hpp"
#include "region_graph.hpp"

namespace neuropil {

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

    // As BandMerger::regions.
    auto regions(const Reaches<Score>& enough) { return bands().regions(enough); }

    // The merges of the whole tree, in order.
    std::vector<Merge<Score>> operator()() { return sort_merges(bands()(), top_, run_); }

  private:
    // Blocks are scanned, their graphs merged in bands.
    BandMerger<Score> bands() const {
        std::vector<Part<Score>> parts(grid_.size(), Part<Score>{score_, {}});
        parallel_for(
            run_, int64_t(parts.size()),
            [&](int64_t i) { parts[i] = scan_block(faces_, fragments_, value_, grid_.box(i), score_, run_); },
            "scan blocks");
        return BandMerger<Score>(std::move(parts), count_, top_, score_, grain_, run_);
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
