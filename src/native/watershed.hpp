// Watershed as one Boruvka step: every voxel unites with its best neighbour, and faces at or above `high` always unite.
// The set of unions is a function of each voxel's own six faces, so neither the order of work nor the number of
// threads can show in the result. After Zlateski and Seung (2015), with their plateau search replaced by a tie rule.
#pragma once
#include <algorithm>
#include <atomic>
#include <limits>
#include <vector>

#include "faces.hpp"
#include "parallel.hpp"

namespace neuropil {

// Which face a voxel prefers, in the order in which ties are decided. 0: no face above `low`.
enum Direction : uint8_t { NONE = 0, LOW_X = 1, LOW_Y = 2, LOW_Z = 3, HIGH_X = 4, HIGH_Y = 5, HIGH_Z = 6 };

// What a voxel unites with among the voxels before it, one bit each; FOREGROUND says it has a face above `low`.
enum Joins : uint8_t { JOIN_X = 1, JOIN_Y = 2, JOIN_Z = 4, FOREGROUND = 8 };

// The six faces of one row of voxels; rows outside the volume are zeros, which no threshold lets pass.
template <class Code>
struct RowFaces {
    const Code* x;  // x[i] and x[i + 1] lie before and after voxel i
    const Code *low_y, *low_z, *high_y, *high_z;
};

// Both loops below are written as whole-vector steps (largest, equal, choose), which compilers know on every processor.
template <class Code>
void best_direction(const RowFaces<Code>& face, int64_t n, Code low, Code* __restrict direction) {
    const Code *x = face.x, *low_y = face.low_y, *low_z = face.low_z, *high_y = face.high_y, *high_z = face.high_z;
    for (int64_t i = 0; i < n; ++i) {
        const Code low_best = std::max(x[i], std::max(low_y[i], low_z[i]));
        const Code best = std::max(std::max(low_best, x[i + 1]), std::max(high_y[i], high_z[i]));
        Code choice = HIGH_Z;
        choice = high_y[i] == best ? Code(HIGH_Y) : choice;
        choice = x[i + 1] == best ? Code(HIGH_X) : choice;
        choice = low_z[i] == best ? Code(LOW_Z) : choice;
        choice = low_y[i] == best ? Code(LOW_Y) : choice;
        choice = x[i] == best ? Code(LOW_X) : choice;
        direction[i] = best > low ? choice : Code(NONE);
    }
}

// direction[-1] must exist. before_y and before_z are the directions of the rows before this one.
template <class Code>
void joins_of_row(const RowFaces<Code>& face, int64_t n, Code high, const Code* direction, const Code* before_y,
                  const Code* before_z, Code* __restrict joins) {
    const Code *face_x = face.x, *face_y = face.low_y, *face_z = face.low_z;
    for (int64_t i = 0; i < n; ++i) {
        const Code own = direction[i];
        Code x = own == LOW_X ? Code(JOIN_X) : Code(0);
        x |= direction[i - 1] == HIGH_X ? Code(JOIN_X) : Code(0);
        x |= face_x[i] > high ? Code(JOIN_X) : Code(0);
        Code y = own == LOW_Y ? Code(JOIN_Y) : Code(0);
        y |= before_y[i] == HIGH_Y ? Code(JOIN_Y) : Code(0);
        y |= face_y[i] > high ? Code(JOIN_Y) : Code(0);
        Code z = own == LOW_Z ? Code(JOIN_Z) : Code(0);
        z |= before_z[i] == HIGH_Z ? Code(JOIN_Z) : Code(0);
        z |= face_z[i] > high ? Code(JOIN_Z) : Code(0);
        joins[i] = Code(x | y | z | (own != NONE ? Code(FOREGROUND) : Code(0)));
    }
}

// The rows of voxels y0 … y1 - 1 in each of the sections z0 … z1 - 1: short enough for a section of it to stay in a
// cache.
struct Stripe {
    int64_t z0, z1, y0, y1;
};

// Stripes of a volume, as many as keep some threads busy.
inline std::vector<Stripe> stripes_of(const Shape& shape, int threads) {
    constexpr int64_t VOXELS = 1 << 16;
    const int64_t rows = std::max<int64_t>(1, VOXELS / std::max<int64_t>(1, shape.x));
    const int64_t across = std::max<int64_t>(1, (shape.y + rows - 1) / rows);
    const int64_t wanted = std::max<int64_t>(1, 4 * threads / across);
    const int64_t along = threads == 1 ? 1 : std::max<int64_t>(1, std::min(shape.z / 4, wanted));
    std::vector<Stripe> stripes;
    for (int64_t i = 0; i < along; ++i)
        for (int64_t j = 0; j < across; ++j)
            stripes.push_back(
                {shape.z * i / along, shape.z * (i + 1) / along, shape.y * j / across, shape.y * (j + 1) / across});
    return stripes;
}

// Directions and joins of a stripe, row by row, keeping one section of directions.
template <class Code>
class JoinScan {
  public:
    JoinScan(const Faces<Code>& faces, Code low, Code high, const Stripe& stripe)
        : faces_(faces),
          low_(low),
          high_(high),
          n_(faces.shape.x),
          first_(std::max<int64_t>(0, stripe.y0 - 1)),
          rows_(stripe.y1 - first_ + 1),
          padded_(n_ + 1),
          zeros_(n_ + 1),
          ring_(rows_ * (n_ + 1)),
          joins_(n_) {
        for (int64_t y = first_; stripe.z0 > 0 && y < stripe.y1; ++y) direct(stripe.z0 - 1, y);
    }

    // The joins of this row. Rows must come one after another, those of a section after the one before.
    Code* next(int64_t z, int64_t y, bool first) {
        if (first && y > 0) direct(z, y - 1);
        const auto face = direct(z, y);
        const Code* before_y = y ? directions(z, y - 1) : zeros_.data();
        const Code* before_z = z ? directions(z - 1, y) : zeros_.data();
        joins_of_row(face, n_, high_, directions(z, y), before_y, before_z, joins_.data());
        return joins_.data();
    }

  private:
    // A row takes the place of the one before the row above it in the section before, which nobody needs any more.
    Code* directions(int64_t z, int64_t y) {
        const int64_t row = z * (rows_ - 1) + y - first_;
        return ring_.data() + (row % rows_) * (n_ + 1) + 1;
    }

    RowFaces<Code> direct(int64_t z, int64_t y) {
        const Shape& s = faces_.shape;
        const int64_t voxel = (z * s.y + y) * n_;
        const Code* none = zeros_.data();
        for (int64_t i = 1; i < n_; ++i) padded_[i] = faces_.at(X, voxel + i);
        const RowFaces<Code> face{padded_.data(), y ? faces_.row(Y, voxel) : none, z ? faces_.row(Z, voxel) : none,
                                  y + 1 < s.y ? faces_.row(Y, voxel + n_) : none,
                                  z + 1 < s.z ? faces_.row(Z, voxel + s.y * n_) : none};
        best_direction(face, n_, low_, directions(z, y));
        return face;
    }

    const Faces<Code>& faces_;
    const Code low_, high_;  // a face passes when its code is greater
    const int64_t n_, first_, rows_;
    std::vector<Code> padded_, zeros_, ring_, joins_;
};

// A forest over voxels, kept in the array that becomes the labels: entries with the top bit are pointers to a voxel of
// smaller or equal index, entries without it are final labels.
template <class Index>
class VoxelForest {
  public:
    static constexpr Index POINTER = Index(1) << (std::numeric_limits<Index>::digits - 1);

    explicit VoxelForest(Index* cell) : cell_(cell) {}

    void root(int64_t v) { cell_[v] = POINTER | Index(v); }
    void background(int64_t v) { cell_[v] = 0; }
    void attach(int64_t v, Index root) { cell_[v] = POINTER | root; }
    void follow(int64_t v, int64_t other, bool foreground) { cell_[v] = foreground ? cell_[other] : Index(0); }
    Index up(int64_t v) const { return cell_[v] & ~POINTER; }
    bool is_root(int64_t v) const { return cell_[v] == (POINTER | Index(v)); }

    void prefetch(int64_t v) const { prefetch_to_write(cell_ + v); }

    Index find(Index v) {
        for (;;) {
            const Index up = cell_[v] & ~POINTER;
            if (up == v) return v;
            const Index top = cell_[up] & ~POINTER;
            cell_[v] = POINTER | top;
            v = top;
        }
    }

    // The smaller root stays: the root of a tree is its smallest voxel.
    Index unite(Index a, Index b) {
        a = find(a), b = find(b);
        if (a > b) std::swap(a, b);
        if (a != b) cell_[b] = POINTER | a;
        return a;
    }

    // The same while other threads unite other voxels. Whoever came first, the root of a tree is its smallest voxel.
    void unite_shared(Index a, Index b) {
        for (;;) {
            a = find_shared(a), b = find_shared(b);
            if (a == b) return;
            if (a > b) std::swap(a, b);
            Index expected = POINTER | b;
            if (std::atomic_ref<Index>(cell_[b]).compare_exchange_strong(expected, POINTER | a,
                                                                         std::memory_order_relaxed))
                return;
        }
    }

    // A voxel of the tree that two voxels' trees become; most often they are one already.
    Index meet(Index a, Index b) { return a == b ? a : unite(a, b); }

    // Numbers the roots from 1 in their order; returns how many there are. Voxels still point to them.
    Index number_roots(int64_t voxels, const Run& run) {
        constexpr int64_t CHUNK = 1 << 18;
        const int64_t chunks = (voxels + CHUNK - 1) / CHUNK;
        auto each = [&](int64_t chunk, auto&& see) {
            const int64_t end = std::min(voxels, (chunk + 1) * CHUNK);
            for (int64_t v = chunk * CHUNK; v < end; ++v) see(v);
        };
        std::vector<Index> before(chunks + 1, 0);
        auto count = [&](int64_t chunk) {
            Index roots = 0;
            each(chunk, [&](int64_t v) { roots += is_root(v); });
            before[chunk + 1] = roots;
        };
        parallel_for(run, chunks, count, "count roots");
        for (int64_t chunk = 0; chunk < chunks; ++chunk) before[chunk + 1] += before[chunk];
        auto number = [&](int64_t chunk) {
            Index id = before[chunk];
            each(chunk, [&](int64_t v) {
                if (is_root(v)) cell_[v] = ++id;
            });
        };
        parallel_for(run, chunks, number, "number roots");
        return before[chunks];
    }

    // Replaces the pointers of a row of voxels by the labels at their ends, once the roots are numbered. Others may be
    // doing the same with theirs.
    void resolve(int64_t begin, int64_t end) {
        for (int64_t v = begin; v < end; ++v) {
            Index at = load(v);
            if (at & POINTER) {
                do at = load(at & ~POINTER);
                while (at & POINTER);
                std::atomic_ref<Index>(cell_[v]).store(at, std::memory_order_relaxed);
            }
        }
    }

    // Replaces all trees by labels from 1 in the order of their roots; returns how many there are.
    Index number(int64_t voxels, const Run& run) {
        constexpr int64_t CHUNK = 1 << 16;
        const Index count = number_roots(voxels, run);
        parallel_for(
            run, (voxels + CHUNK - 1) / CHUNK,
            [&](int64_t i) { resolve(i * CHUNK, std::min(voxels, (i + 1) * CHUNK)); }, "resolve");
        return count;
    }

  private:
    Index find_shared(Index v) {
        for (;;) {
            const Index up = load(v) & ~POINTER;
            if (up == v) return v;
            const Index top = load(up) & ~POINTER;
            if (top != up) std::atomic_ref<Index>(cell_[v]).store(POINTER | top, std::memory_order_relaxed);
            v = top;
        }
    }

    Index load(Index v) { return std::atomic_ref<Index>(cell_[v]).load(std::memory_order_relaxed); }

    Index* cell_;
};

template <class Code, class Index>
class Watershed {
  public:
    Watershed(const Faces<Code>& faces, Code low, Code high, Index* labels, const Run& run)
        : faces_(faces),
          low_(low),
          high_(high),
          forest_(labels),
          run_(run),
          stripes_(stripes_of(faces.shape, run.threads)) {}

    // Returns the number of fragments; labels run from 1 in the order of their smallest voxel.
    Index operator()() {
        std::vector<std::vector<std::pair<Index, Index>>> across(stripes_.size());
        parallel_for(
            run_, int64_t(stripes_.size()), [&](int64_t i) { across[i] = unite_stripe(stripes_[i]); }, "unite");
        parallel_for(
            run_, int64_t(across.size()),
            [&](int64_t i) {
                run_.check();
                for (const auto& [v, before] : across[i]) forest_.unite_shared(v, before);
            },
            "unite across");
        const Index count = forest_.number_roots(faces_.shape.size(), run_);
        parallel_for(run_, int64_t(stripes_.size()), [&](int64_t i) { resolve_stripe(stripes_[i]); }, "resolve");
        return count;
    }

  private:
    // Unites the voxels of a stripe, and returns the pairs of voxels that are one across its first rows and section.
    std::vector<std::pair<Index, Index>> unite_stripe(const Stripe& stripe) {
        const auto stride = faces_.shape.strides();
        const int64_t n = faces_.shape.x;
        std::vector<std::pair<Index, Index>> across;
        JoinScan<Code> scan(faces_, low_, high_, stripe);
        std::vector<int64_t> more(n);
        for (int64_t z = stripe.z0; z < stripe.z1; ++z) {
            run_.check();
            for (int64_t y = stripe.y0; y < stripe.y1; ++y) {
                Code* joins = scan.next(z, y, y == stripe.y0);
                const int64_t voxel = z * stride[Z] + y * stride[Y];
                if (y == stripe.y0 && y > 0) set_aside(joins, voxel, JOIN_Y, stride[Y], across);
                if (z == stripe.z0 && z > 0) set_aside(joins, voxel, JOIN_Z, stride[Z], across);
                unite_row(joins, voxel, more);
            }
        }
        return across;
    }

    void resolve_stripe(const Stripe& stripe) {
        const Shape& s = faces_.shape;
        for (int64_t z = stripe.z0; z < stripe.z1; ++z) {
            run_.check();
            forest_.resolve((z * s.y + stripe.y0) * s.x, (z * s.y + stripe.y1) * s.x);
        }
    }

    void set_aside(Code* joins, int64_t voxel, Joins join, int64_t stride,
                   std::vector<std::pair<Index, Index>>& across) const {
        for (int64_t i = 0; i < faces_.shape.x; ++i) {
            if (!(joins[i] & join)) continue;
            joins[i] &= Code(~join);
            across.emplace_back(Index(voxel + i), Index(voxel + i - stride));
        }
    }

    // Which joins a voxel has is hard to foresee, so there is no branch on them: a voxel takes over the pointer of one
    // neighbour it joins, and those that join several (`more`) are gone through after the row.
    void unite_row(const Code* joins, int64_t voxel, std::vector<int64_t>& more) {
        constexpr int AXES = JOIN_X | JOIN_Y | JOIN_Z;
        const auto stride = faces_.shape.strides();
        const int64_t back[AXES + 1] = {0, 1, stride[Y], 1, stride[Z], 1, stride[Y], 1};
        size_t count = 0;
        for (int64_t i = 0; i < faces_.shape.x; ++i) {
            const int axes = joins[i] & AXES;
            const int64_t v = voxel + i;
            forest_.root(v);
            forest_.follow(v, v - back[axes], joins[i] & FOREGROUND);
            more[count] = i;
            count += (axes & (axes - 1)) != 0;
        }
        for (size_t k = 0; k < count; ++k) {
            const int join = joins[more[k]];
            const int64_t v = voxel + more[k];
            Index root = forest_.up(v);
            if (join & JOIN_X && join & JOIN_Y) root = forest_.meet(root, forest_.up(v - stride[Y]));
            if (join & JOIN_Z) root = forest_.meet(root, forest_.up(v - stride[Z]));
            forest_.attach(v, root);
        }
    }

    const Faces<Code>& faces_;
    const Code low_, high_;
    VoxelForest<Index> forest_;
    const Run& run_;
    const std::vector<Stripe> stripes_;
};

}  // namespace neuropil
