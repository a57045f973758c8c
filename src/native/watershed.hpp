// Watershed as one Boruvka step: every voxel unites with its best neighbour, and faces at or above `high` always unite.
// The unions depend on each voxel's own six faces only. So the result does not depend on the order of work or the
// number of threads, and a block with a halo of one voxel has the unions of the whole volume inside it. After Zlateski
// and Seung (2015), with a rule for ties in place of their plateau search.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "faces.hpp"
#include "parallel.hpp"
#include "voxel_forest.hpp"

namespace neuropil {

// Which face a voxel prefers, in the order in which ties are decided. 0: no face above `low`.
enum Direction : uint8_t { NONE = 0, LOW_X = 1, LOW_Y = 2, LOW_Z = 3, HIGH_X = 4, HIGH_Y = 5, HIGH_Z = 6 };

// What a voxel unites with among the voxels before it, one bit each; FOREGROUND says it has a face above `low`.
enum Joins : uint8_t { JOIN_X = 1, JOIN_Y = 2, JOIN_Z = 4, FOREGROUND = 8 };

// Unions of a voxel at a face of its block, besides JOIN_X, JOIN_Y and JOIN_Z with the voxel before it: the voxel after
// it is its best neighbour.
enum Asks : uint8_t { ASK_X = 16, ASK_Y = 32, ASK_Z = 64 };

// The six faces of one row of voxels; rows outside the volume are zeros, which are below every threshold.
template <class Code>
struct RowFaces {
    const Code* x;  // x[i] and x[i + 1] lie before and after voxel i
    const Code *low_y, *low_z, *high_y, *high_z;
};

// Both loops below are written as vector operations (maximum, equality, select), which compilers vectorise on every
// CPU.
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

// Stripes of a box, as many as keep some threads busy.
inline std::vector<Stripe> stripes_of(const Box& box, int threads) {
    constexpr int64_t VOXELS = 1 << 16;
    const auto [z0, y0, x0] = box.start;
    const int64_t z = box.stop[Z] - z0, y = box.stop[Y] - y0, x = box.stop[X] - x0;
    const int64_t rows = std::max<int64_t>(1, VOXELS / std::max<int64_t>(1, x));
    const int64_t across = std::max<int64_t>(1, (y + rows - 1) / rows);
    const int64_t wanted = std::max<int64_t>(1, 4 * threads / across);
    const int64_t along = threads == 1 ? 1 : std::max<int64_t>(1, std::min(z / 4, wanted));
    std::vector<Stripe> stripes;
    for (int64_t i = 0; i < along; ++i)
        for (int64_t j = 0; j < across; ++j)
            stripes.push_back(
                {z0 + z * i / along, z0 + z * (i + 1) / along, y0 + y * j / across, y0 + y * (j + 1) / across});
    return stripes;
}

// Directions and joins of a stripe of a box, row by row, keeping one section of directions. At a lower face of the box
// a voxel joins the one before it if that is its best neighbour; the preference of the other voxel is not known here.
template <class Code>
class JoinScan {
  public:
    JoinScan(const Faces<Code>& faces, const Box& box, Code low, Code high, const Stripe& stripe)
        : faces_(faces),
          box_(box),
          low_(low),
          high_(high),
          n_(box.stop[X] - box.start[X]),
          first_(std::max(box.start[Y], stripe.y0 - 1)),
          rows_(stripe.y1 - first_ + 1),
          padded_(n_ + 1),
          zeros_(n_ + 1),
          ring_(rows_ * (n_ + 1)),
          joins_(n_) {
        for (int64_t y = first_; stripe.z0 > box.start[Z] && y < stripe.y1; ++y) direct(stripe.z0 - 1, y);
    }

    // The joins of this row. Rows must come one after another, those of a section after the one before.
    Code* next(int64_t z, int64_t y, bool first) {
        if (first && y > box_.start[Y]) direct(z, y - 1);
        const auto face = direct(z, y);
        const Code* before_y = y > box_.start[Y] ? directions(z, y - 1) : zeros_.data();
        const Code* before_z = z > box_.start[Z] ? directions(z - 1, y) : zeros_.data();
        joins_of_row(face, n_, high_, directions(z, y), before_y, before_z, joins_.data());
        return joins_.data();
    }

    // The directions of a row, in a ring buffer of one section. A row replaces the one before the row above it in the
    // section before, which is no longer needed.
    Code* directions(int64_t z, int64_t y) {
        const int64_t row = z * (rows_ - 1) + y - first_;
        return ring_.data() + (row % rows_) * (n_ + 1) + 1;
    }

  private:
    RowFaces<Code> direct(int64_t z, int64_t y) {
        const Shape& s = faces_.shape;
        const int64_t voxel = (z * s.y + y) * s.x + box_.start[X];
        const Code* none = zeros_.data();
        if (box_.start[X] > 0) padded_[0] = faces_.at(X, voxel);
        for (int64_t i = 1; i < n_; ++i) padded_[i] = faces_.at(X, voxel + i);
        if (box_.stop[X] < s.x) padded_[n_] = faces_.at(X, voxel + n_);
        const RowFaces<Code> face{padded_.data(), y ? faces_.row(Y, voxel) : none, z ? faces_.row(Z, voxel) : none,
                                  y + 1 < s.y ? faces_.row(Y, voxel + s.x) : none,
                                  z + 1 < s.z ? faces_.row(Z, voxel + s.y * s.x) : none};
        best_direction(face, n_, low_, directions(z, y));
        return face;
    }

    const Faces<Code>& faces_;
    const Box box_;
    const Code low_, high_;  // a face passes when its code is greater
    const int64_t n_, first_, rows_;
    std::vector<Code> padded_, zeros_, ring_, joins_;
};

// The watershed of a volume, or of a box of it: then the array has a halo of one voxel where the volume continues, so
// that all six faces of the voxels of the box are known. Unions across the faces of the box are left to the caller.
template <class Code, class Index>
class Watershed {
  public:
    Watershed(const Faces<Code>& faces, Code low, Code high, Index* labels, const Run& run)
        : Watershed(faces, {{0, 0, 0}, {faces.shape.z, faces.shape.y, faces.shape.x}}, low, high, labels, nullptr,
                    run) {}

    // `asks` gets the joins of voxels at the faces of the box; labels around the box become 0.
    Watershed(const Faces<Code>& faces, const Box& box, Code low, Code high, Index* labels, uint8_t* asks,
              const Run& run)
        : faces_(faces),
          box_(box),
          low_(low),
          high_(high),
          labels_(labels),
          asks_(asks),
          forest_(labels),
          run_(run),
          stripes_(stripes_of(box, run.threads)) {}

    // Returns the number of fragments; labels run from 1 in the order of their smallest voxel, which are noted where
    // that is wanted.
    Index operator()(std::vector<Index>* first = nullptr) {
        if (asks_) std::fill(labels_, labels_ + faces_.shape.size(), Index(0));
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
        const Index count = forest_.number_roots(faces_.shape.size(), run_, first);
        parallel_for(run_, int64_t(stripes_.size()), [&](int64_t i) { resolve_stripe(stripes_[i]); }, "resolve");
        return count;
    }

  private:
    int64_t width() const { return box_.stop[X] - box_.start[X]; }

    int64_t voxel_of(int64_t z, int64_t y) const { return (z * faces_.shape.y + y) * faces_.shape.x + box_.start[X]; }

    // Unites the voxels of a stripe, and returns the pairs of voxels that are one across its first rows and section.
    std::vector<std::pair<Index, Index>> unite_stripe(const Stripe& stripe) {
        const auto stride = faces_.shape.strides();
        std::vector<std::pair<Index, Index>> across;
        JoinScan<Code> scan(faces_, box_, low_, high_, stripe);
        std::vector<int64_t> more(width());
        for (int64_t z = stripe.z0; z < stripe.z1; ++z) {
            run_.check();
            for (int64_t y = stripe.y0; y < stripe.y1; ++y) {
                Code* joins = scan.next(z, y, y == stripe.y0);
                const int64_t voxel = voxel_of(z, y);
                if (asks_) ask(joins, scan.directions(z, y), z, y);
                if (y == stripe.y0 && y > box_.start[Y]) set_aside(joins, voxel, JOIN_Y, stride[Y], across);
                if (z == stripe.z0 && z > box_.start[Z]) set_aside(joins, voxel, JOIN_Z, stride[Z], across);
                unite_row(joins, voxel, more);
            }
        }
        return across;
    }

    // Notes what the voxels of a row at the faces of the box ask for, and drops their joins across these.
    void ask(Code* joins, const Code* direction, int64_t z, int64_t y) const {
        const int64_t n = width();
        const bool first_y = y == box_.start[Y], first_z = z == box_.start[Z];
        const bool rim = first_y || first_z || y + 1 == box_.stop[Y] || z + 1 == box_.stop[Z];
        uint8_t* asks = asks_ + voxel_of(z, y);
        for (int64_t i = 0; i < n; i += rim ? 1 : std::max<int64_t>(1, n - 1))
            asks[i] = uint8_t((joins[i] & (JOIN_X | JOIN_Y | JOIN_Z)) | (direction[i] == HIGH_X) * ASK_X |
                              (direction[i] == HIGH_Y) * ASK_Y | (direction[i] == HIGH_Z) * ASK_Z);
        const Code inside = Code(~((first_y ? JOIN_Y : 0) | (first_z ? JOIN_Z : 0)));
        for (int64_t i = 0; (first_y || first_z) && i < n; ++i) joins[i] &= inside;
        joins[0] &= Code(~JOIN_X);
    }

    void resolve_stripe(const Stripe& stripe) {
        for (int64_t z = stripe.z0; z < stripe.z1; ++z) {
            run_.check();
            for (int64_t y = stripe.y0; y < stripe.y1; ++y) forest_.resolve(voxel_of(z, y), voxel_of(z, y) + width());
        }
    }

    void set_aside(Code* joins, int64_t voxel, Joins join, int64_t stride,
                   std::vector<std::pair<Index, Index>>& across) const {
        for (int64_t i = 0; i < width(); ++i) {
            if (!(joins[i] & join)) continue;
            joins[i] &= Code(~join);
            across.emplace_back(Index(voxel + i), Index(voxel + i - stride));
        }
    }

    // Joins are hard to predict for the CPU, so there is no branch on them: a voxel takes the pointer of one neighbour
    // that it joins, and voxels that join several (`more`) are processed after the row.
    void unite_row(const Code* joins, int64_t voxel, std::vector<int64_t>& more) {
        constexpr int AXES = JOIN_X | JOIN_Y | JOIN_Z;
        const auto stride = faces_.shape.strides();
        const int64_t n = width(), back[AXES + 1] = {0, 1, stride[Y], 1, stride[Z], 1, stride[Y], 1};
        size_t count = 0;
        for (int64_t i = 0; i < n; ++i) {
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
    const Box box_;
    const Code low_, high_;
    Index* labels_;
    uint8_t* asks_;
    VoxelForest<Index> forest_;
    const Run& run_;
    const std::vector<Stripe> stripes_;
};

}  // namespace neuropil
