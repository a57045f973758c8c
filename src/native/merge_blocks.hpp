// Agglomeration of a volume in blocks that fit into the processor's cache, on all cores, with the tree of the whole.
#pragma once
#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "agglomerate.hpp"
#include "faces.hpp"
#include "merge_bands.hpp"
#include "region_graph.hpp"

namespace neuropil {

// A grid of boxes over a volume, and the coarser grid in which each box joins up to 2 x 2 x 2 of these.
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

    Grid coarser() const {
        auto block = block_;
        for (int axis : {Z, Y, X}) block[axis] *= count_[axis] > 1 ? 2 : 1;
        return Grid({extent_[Z], extent_[Y], extent_[X]}, block);
    }

    // The box of the coarser grid that holds box i.
    int64_t parent(int64_t i, const Grid& coarse) const {
        const Box inner = box(i);
        int64_t at = 0;
        for (int axis : {Z, Y, X}) at = at * coarse.count_[axis] + inner.start[axis] / coarse.block_[axis];
        return at;
    }

  private:
    std::array<int64_t, 3> extent_, block_, count_;
};

// Calls see(z, y, x) for every voxel in a plane across `axis`, within the box on the other two.
template <class See>
void each_in_plane(const Box& box, int axis, int64_t at, See&& see) {
    Box plane = box;
    plane.start[axis] = at, plane.stop[axis] = at + 1;
    for (int64_t z = plane.start[Z]; z < plane.stop[Z]; ++z)
        for (int64_t y = plane.start[Y]; y < plane.stop[Y]; ++y)
            for (int64_t x = plane.start[X]; x < plane.stop[X]; ++x) see(z, y, x);
}

// Calls see(z, y, x) where a fragment may reach beyond the box: for every voxel that has a neighbour inside the volume
// but outside the box, and for those neighbours below the box, since the faces between them are counted in the box.
template <class See>
void each_beyond(const Shape& shape, const Box& box, See&& see) {
    const std::array<int64_t, 3> extent{shape.z, shape.y, shape.x};
    for (int axis : {Z, Y, X}) {
        if (box.start[axis] > 0) each_in_plane(box, axis, box.start[axis], see);
        if (box.start[axis] > 0) each_in_plane(box, axis, box.start[axis] - 1, see);
        if (box.stop[axis] < extent[axis]) each_in_plane(box, axis, box.stop[axis] - 1, see);
    }
}

// Grids from fine to one box that holds all. Boxes of all levels are numbered, finer levels first.
class BoxTree {
  public:
    BoxTree(const Shape& shape, std::array<int64_t, 3> block) : grids_{Grid(shape, block)}, first_{0} {
        for (;;) {
            first_.push_back(first_.back() + uint32_t(grids_.back().size()));
            if (grids_.back().size() == 1) break;
            const Grid coarse = grids_.back().coarser();
            for (int64_t i = 0; i < grids_.back().size(); ++i)
                parent_.push_back(first_.back() + uint32_t(grids_.back().parent(i, coarse)));
            grids_.push_back(coarse);
        }
        parent_.push_back(uint32_t(parent_.size()));
    }

    size_t levels() const { return grids_.size(); }
    const Grid& grid(size_t level) const { return grids_[level]; }
    uint32_t first(size_t level) const { return first_[level]; }
    uint32_t parent(uint32_t box) const { return parent_[box]; }

    // The smallest box that holds both.
    uint32_t joint(uint32_t a, uint32_t b) const {
        while (a != b) (a < b ? a : b) = parent_[std::min(a, b)];
        return a;
    }

    // Whether box `outer` holds box `inner`.
    bool holds(uint32_t outer, uint32_t inner) const {
        while (inner < outer && parent_[inner] <= outer) inner = parent_[inner];
        return inner == outer;
    }

  private:
    std::vector<Grid> grids_;
    std::vector<uint32_t> first_, parent_;
};

// Lets edges merge whose score is at least `stop`, in the unit of Score::value; all of them when that is 0.
template <class Score>
struct Reaches {
    double stop = 0, scale = 1;

    bool operator()(const typename Score::Stats& stats) const {
        return stop <= 0 || Score::value(stats, scale) >= stop;
    }
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
          tree_(faces.shape, block),
          count_(count),
          grain_(size_t(std::max<int64_t>(1, block[Z] * block[Y] * block[X] / VOXELS_PER_EDGE))),
          run_(run) {}

    // For a volume that is a part of a larger one: fragments f with frozen[f] reach beyond it, and merging ends at
    // `enough`. Returns what is left for the larger part.
    Part<Score> part(const uint8_t* frozen, const Reaches<Score>& enough, std::vector<Merge<Score>>& merges) {
        frozen_ = frozen;
        enough_ = enough;
        home_.assign(size_t(count_) + 1, NOWHERE);
        const int64_t leaves = tree_.grid(0).size();
        parallel_for(run_, leaves, [&](int64_t i) { settle(i); });
        std::vector<Part<Score>> parts(leaves, Part<Score>{score_, {}});
        merges_.resize(leaves);
        parallel_for(run_, leaves, [&](int64_t i) { parts[i] = leaf(i); });
        for (size_t level = 1; level < tree_.levels(); ++level) parts = join(level, std::move(parts));
        merges = in_order(std::move(merges_));
        return std::move(parts[0]);
    }

    // The merges of the whole tree, in order. Where nothing waits, blocks are scanned only, and merging goes in bands.
    std::vector<Merge<Score>> operator()() {
        std::vector<Part<Score>> parts(tree_.grid(0).size(), Part<Score>{score_, {}});
        parallel_for(run_, int64_t(parts.size()), [&](int64_t i) { parts[i] = scan(tree_.grid(0).box(i)); });
        return in_order(BandMerger<Score>(std::move(parts), count_, top_, score_, grain_, run_)());
    }

  private:
    static constexpr uint32_t NOWHERE = uint32_t(-1);
    static constexpr int64_t VOXELS_PER_EDGE = 13;  // a block of 32 x 64 x 64 voxels stands for 10,000 edges

    std::vector<Merge<Score>> in_order(std::vector<std::vector<Merge<Score>>> lists) const {
        std::vector<Merge<Score>> all;
        size_t count = 0;
        for (const auto& merges : lists) count += merges.size();
        all.reserve(count);
        for (auto& merges : lists) {
            all.insert(all.end(), merges.begin(), merges.end());
            std::vector<Merge<Score>>().swap(merges);
        }
        sort_merges(all, top_, run_);
        return all;
    }

    // Notes which fragments have voxels in leaf i. A fragment need not be connected: what counts is the smallest box
    // that holds all of it.
    void settle(int64_t i) {
        run_.check();
        const Box box = tree_.grid(0).box(i);
        const auto stride = faces_.shape.strides();
        for (int64_t z = box.start[Z]; z < box.stop[Z]; ++z) {
            for (int64_t y = box.start[Y]; y < box.stop[Y]; ++y) {
                const Index* row = fragments_ + z * stride[Z] + y * stride[Y];
                Index last = 0;
                for (int64_t x = box.start[X]; x < box.stop[X]; ++x) {
                    if (row[x] == last) continue;
                    last = row[x];
                    if (!last) continue;
                    std::atomic_ref<uint32_t> home(home_[last]);
                    uint32_t known = home.load(std::memory_order_relaxed);
                    for (;;) {
                        const uint32_t now = known == NOWHERE ? uint32_t(i) : tree_.joint(known, uint32_t(i));
                        if (now == known || home.compare_exchange_weak(known, now, std::memory_order_relaxed)) break;
                    }
                }
            }
        }
    }

    // The fragments of a box numbered within it (0 stays 0), with one voxel before it on each axis where there is one.
    struct Numbered {
        NameTable<Index> names;
        std::vector<uint32_t> number;
        std::array<int64_t, 3> first, stride;

        uint32_t at(int64_t z, int64_t y, int64_t x) const {
            return number[(z - first[Z]) * stride[Z] + (y - first[Y]) * stride[Y] + (x - first[X])];
        }
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

    // Whether a region reaches beyond a box.
    bool waits(uint32_t box, Index name) const { return !tree_.holds(box, home_[name]) || (frozen_ && frozen_[name]); }

    // The edges whose faces have their upper voxel in the box.
    Part<Score> scan(const Box& box) const {
        Numbered in = number_box(box);
        Score score = score_;
        EdgeTable<LocalEdge<Score>, uint32_t> table;
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

    Part<Score> leaf(int64_t i) {
        const Box box = tree_.grid(0).box(i);
        Numbered in = number_box(box);
        Score score = score_;
        EdgeTable<LocalEdge<Score>, uint32_t> table;
        scan_faces(faces_, in.number.data(), in.stride, in.first, value_, box, score, table, run_);
        score.finish(table.edges());
        LocalPart<Score> local;
        local.name = std::move(in.names.names());
        local.blocked.resize(local.name.size());
        for (size_t r = 1; r < local.name.size(); ++r) local.blocked[r] = waits(uint32_t(i), local.name[r]);
        each_beyond(faces_.shape, box, [&](int64_t z, int64_t y, int64_t x) { local.blocked[in.at(z, y, x)] = true; });
        local.edges = std::move(table.edges());
        local.index = std::move(table.index());
        return merge_part(std::move(local), score, top_, merges_[i], run_, enough_);
    }

    Part<Score> inner(size_t level, int64_t i, Part<Score> part, std::vector<Merge<Score>>& merges) {
        const auto stride = faces_.shape.strides();
        auto [local, table] = number_regions(part);
        const uint32_t here = tree_.first(level) + uint32_t(i);
        for (size_t r = 0; r < local.name.size(); ++r) local.blocked[r] = waits(here, local.name[r]);
        Index last = 0;
        each_beyond(faces_.shape, tree_.grid(level).box(i),
                    [&, &local = local, &table = table](int64_t z, int64_t y, int64_t x) {
                        const Index name = fragments_[z * stride[Z] + y * stride[Y] + x];
                        if (name == last) return;
                        last = name;
                        const uint32_t region = table.find(name);
                        if (region != NameTable<Index>::NONE) local.blocked[region] = true;
                    });
        return merge_part(std::move(local), part.score, top_, merges, run_, enough_);
    }

    // From the parts of one level to those of the next.
    std::vector<Part<Score>> join(size_t level, std::vector<Part<Score>> children) {
        const int64_t boxes = tree_.grid(level).size();
        std::vector<std::vector<int64_t>> family(boxes);
        for (size_t i = 0; i < children.size(); ++i)
            family[tree_.parent(tree_.first(level - 1) + uint32_t(i)) - tree_.first(level)].push_back(int64_t(i));
        std::vector<Part<Score>> parents(boxes, Part<Score>{score_, {}});
        std::vector<std::vector<Merge<Score>>> merges(boxes);
        parallel_for(run_, boxes, [&](int64_t i) {
            Part<Score> part{score_, {}};
            size_t count = 0;
            for (int64_t child : family[i]) count += children[child].edges.size();
            part.edges.reserve(count);
            for (int64_t child : family[i]) {
                for (const auto& edge : children[child].edges)
                    part.edges.push_back({edge.a, edge.b, part.score.adopt(children[child].score, edge.stats)});
                children[child] = Part<Score>{score_, {}};
            }
            parents[i] = inner(level, i, std::move(part), merges[i]);
        });
        for (auto& list : merges) merges_.push_back(std::move(list));
        return parents;
    }

    const AnyFaces faces_;
    const Index* fragments_;
    const uint32_t* value_;
    const uint64_t top_;
    const Score score_;
    const BoxTree tree_;
    const Index count_;
    const size_t grain_;
    std::vector<uint32_t> home_;
    const Run& run_;
    std::vector<std::vector<Merge<Score>>> merges_;
    const uint8_t* frozen_ = nullptr;
    Reaches<Score> enough_;
};

}  // namespace neuropil
