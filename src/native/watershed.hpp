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

// Directions and joins, row by row, keeping one slice of directions.
template <class Code>
class JoinScan {
  public:
    JoinScan(const Faces<Code>& faces, Code low, Code high)
        : faces_(faces),
          low_(low),
          high_(high),
          n_(faces.shape.x),
          padded_(n_ + 1),
          zeros_(n_ + 1),
          ring_((faces.shape.y + 1) * (n_ + 1)),
          joins_(n_) {}

    // Prepares for a scan that starts at this row: one slice of directions before it.
    void start(int64_t row) {
        for (int64_t r = std::max<int64_t>(0, row - faces_.shape.y); r < row; ++r) direct(r);
    }

    // The joins of this row; rows must come one after another.
    const Code* next(int64_t row) {
        const auto face = direct(row);
        const bool first_y = row % faces_.shape.y == 0, first_z = row < faces_.shape.y;
        const Code* before_y = first_y ? zeros_.data() : directions(row - 1);
        const Code* before_z = first_z ? zeros_.data() : directions(row - faces_.shape.y);
        joins_of_row(face, n_, high_, directions(row), before_y, before_z, joins_.data());
        return joins_.data();
    }

  private:
    Code* directions(int64_t row) { return ring_.data() + (row % (faces_.shape.y + 1)) * (n_ + 1) + 1; }

    RowFaces<Code> direct(int64_t row) {
        const Shape& s = faces_.shape;
        const int64_t voxel = row * n_, y = row % s.y, z = row / s.y;
        const Code* none = zeros_.data();
        for (int64_t i = 1; i < n_; ++i) padded_[i] = faces_.at(X, voxel + i);
        const RowFaces<Code> face{padded_.data(), y ? faces_.row(Y, voxel) : none, z ? faces_.row(Z, voxel) : none,
                                  y + 1 < s.y ? faces_.row(Y, voxel + n_) : none,
                                  z + 1 < s.z ? faces_.row(Z, voxel + s.y * n_) : none};
        best_direction(face, n_, low_, directions(row));
        return face;
    }

    const Faces<Code>& faces_;
    const Code low_, high_;  // a face passes when its code is greater
    const int64_t n_;
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

    // A voxel of the tree that two voxels' trees become; most often they are one already.
    Index meet(Index a, Index b) { return a == b ? a : unite(a, b); }

    // Replaces all trees by labels from 1 in the order of their roots; returns how many there are.
    Index number(int64_t voxels, int64_t pieces, const Run& run) {
        auto begin = [&](int64_t p) { return voxels * p / pieces; };
        std::vector<Index> ids(pieces + 1, 0);
        parallel_for(run, pieces, [&](int64_t p) {
            Index roots = 0;
            each_chunk(run, begin(p + 1) - begin(p), [&](int64_t from, int64_t to) {
                for (int64_t v = begin(p) + from; v < begin(p) + to; ++v) roots += is_root(v);
            });
            ids[p + 1] = roots;
        });
        for (int64_t p = 0; p < pieces; ++p) ids[p + 1] += ids[p];
        parallel_for(run, pieces, [&](int64_t p) { number_piece(begin(p), begin(p + 1), ids[p], run); });
        parallel_for(run, pieces - 1, [&](int64_t p) {
            each_chunk(run, begin(p + 2) - begin(p + 1), [&](int64_t from, int64_t to) {
                for (int64_t v = begin(p + 1) + from; v < begin(p + 1) + to; ++v) resolve(v);
            });
        });
        return ids[pieces];
    }

  private:
    // Labels voxels of a piece in their order: what a voxel points to has its label already, or lies before the piece.
    void number_piece(int64_t begin, int64_t end, Index id, const Run& run) {
        each_chunk(run, end - begin, [&](int64_t from, int64_t to) {
            for (int64_t v = begin + from; v < begin + to; ++v) {
                const int64_t up = int64_t(cell_[v] & ~POINTER);
                if (!(cell_[v] & POINTER) || up < begin) continue;
                const bool root = up == v;
                const Index known = cell_[up];
                id += root;
                cell_[v] = root ? id : known;  // no branch: roots are hard to foresee
            }
        });
    }

    // Replaces a pointer by the label at its end. Other threads may be doing the same along the way.
    void resolve(int64_t v) {
        Index at = load(v);
        if (!(at & POINTER)) return;
        while (at & POINTER) at = load(at & ~POINTER);
        std::atomic_ref<Index>(cell_[v]).store(at, std::memory_order_relaxed);
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
          pieces_(std::max<int64_t>(1, std::min<int64_t>(run.threads, faces.shape.rows()))),
          later_(pieces_) {}

    // Returns the number of fragments; labels run from 1 in the order of their smallest voxel.
    Index operator()() {
        parallel_for(run_, pieces_, [&](int64_t piece) { unite_piece(piece); });
        for (const auto& joins : later_) {
            run_.check();
            for (const auto& [v, stride] : joins) forest_.unite(v, v - stride);
        }
        return forest_.number(faces_.shape.size(), pieces_, run_);
    }

  private:
    int64_t begin(int64_t piece) const { return faces_.shape.rows() * piece / pieces_; }

    void unite_piece(int64_t piece) {
        const int64_t n = faces_.shape.x, first = begin(piece), last = begin(piece + 1);
        JoinScan<Code> scan(faces_, low_, high_);
        std::vector<int64_t> more(n);
        scan.start(first);
        for (int64_t row = first; row < last; ++row) {
            run_.check();
            if (row > first && row - faces_.shape.y >= first)
                unite_row(scan.next(row), row * n, more);
            else
                unite_first_row(scan.next(row), row * n, first * n, later_[piece]);
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

    // The same where a row or slice before this one is not this piece's: joins with voxels before `start` are left for
    // later.
    void unite_first_row(const Code* joins, int64_t voxel, int64_t start, std::vector<std::pair<Index, Index>>& later) {
        const auto stride = faces_.shape.strides();
        for (int64_t i = 0; i < faces_.shape.x; ++i) {
            const int64_t v = voxel + i;
            if (!(joins[i] & FOREGROUND)) {
                forest_.background(v);
                continue;
            }
            constexpr Index NOWHERE = std::numeric_limits<Index>::max();
            Index root = NOWHERE;
            for (int axis : {X, Y, Z}) {
                if (!(joins[i] & (JOIN_X << (X - axis)))) continue;
                if (v - stride[axis] < start) {
                    later.emplace_back(Index(v), Index(stride[axis]));
                } else {
                    const Index other = Index(v - stride[axis]);
                    root = root == NOWHERE ? forest_.find(other) : forest_.unite(root, other);
                }
            }
            root == NOWHERE ? forest_.root(v) : forest_.attach(v, root);
        }
    }

    const Faces<Code>& faces_;
    const Code low_, high_;
    VoxelForest<Index> forest_;
    const Run& run_;
    const int64_t pieces_;
    std::vector<std::vector<std::pair<Index, Index>>> later_;
};

}  // namespace neuropil
