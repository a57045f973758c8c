// The watershed of one block of a volume. The block is given with a halo of one voxel where the volume goes on, so that
// all six faces of its own voxels are known; unions across its own faces are left to whoever sees both sides.
#pragma once
#include <utility>
#include <vector>

#include "region_graph.hpp"
#include "watershed.hpp"

namespace neuropil {

// What a voxel at a face of its block asks for, besides JOIN_X, JOIN_Y and JOIN_Z with the voxel before it: the voxel
// after it is its best neighbour.
enum Asks : uint8_t { ASK_X = 16, ASK_Y = 32, ASK_Z = 64 };

// Joins of the voxels of a box, row by row, from the faces of the volume around it.
template <class Code>
class BlockJoins {
  public:
    BlockJoins(const Faces<Code>& faces, const Box& box, Code low, Code high)
        : faces_(faces),
          box_(box),
          low_(low),
          high_(high),
          n_(box.stop[X] - box.start[X]),
          padded_(n_ + 1),
          zeros_(n_ + 1),
          ring_((box.stop[Y] - box.start[Y] + 1) * (n_ + 1)),
          joins_(n_) {}

    // The joins of row (z, y); rows must come one after another, from the first of the box. A voxel at a lower face of
    // the box joins the one before it where it wants to; what that one wants is not known here.
    const Code* next(int64_t z, int64_t y) {
        const int64_t voxel = z * faces_.shape.strides()[Z] + y * faces_.shape.strides()[Y] + box_.start[X];
        const auto face = row_faces(z, y, voxel);
        Code* direction = directions(z, y);
        best_direction(face, n_, low_, direction);
        const Code* before_y = y > box_.start[Y] ? directions(z, y - 1) : zeros_.data();
        const Code* before_z = z > box_.start[Z] ? directions(z - 1, y) : zeros_.data();
        joins_of_row(face, n_, high_, direction, before_y, before_z, joins_.data());
        return joins_.data();
    }

    Code* directions(int64_t z, int64_t y) {
        const int64_t rows = box_.stop[Y] - box_.start[Y];
        const int64_t row = (z - box_.start[Z]) * rows + y - box_.start[Y];
        return ring_.data() + row % (rows + 1) * (n_ + 1) + 1;  // the entry before a row is NONE for ever
    }

  private:
    RowFaces<Code> row_faces(int64_t z, int64_t y, int64_t voxel) {
        const Shape& s = faces_.shape;
        const auto stride = s.strides();
        const Code* none = zeros_.data();
        for (int64_t i = 0; i <= n_; ++i) {
            const int64_t x = box_.start[X] + i;
            padded_[i] = x > 0 && x < s.x ? faces_.at(X, voxel + i) : Code(0);
        }
        return {padded_.data(), y ? faces_.row(Y, voxel) : none, z ? faces_.row(Z, voxel) : none,
                y + 1 < s.y ? faces_.row(Y, voxel + stride[Y]) : none,
                z + 1 < s.z ? faces_.row(Z, voxel + stride[Z]) : none};
    }

    const Faces<Code>& faces_;
    const Box box_;
    const Code low_, high_;
    const int64_t n_;
    std::vector<Code> padded_, zeros_, ring_, joins_;
};

// Labels the voxels of a box by what they are united with inside it, from 1 in the order of their first voxels, which
// are returned; labels around the box become 0. `asks` gets the joins of voxels at the faces of the box.
template <class Code>
std::vector<uint32_t> block_watershed(const Faces<Code>& faces, const Box& box, Code low, Code high, uint32_t* labels,
                                      uint8_t* asks, const Run& run) {
    const auto stride = faces.shape.strides();
    const int64_t size = faces.shape.size(), n = box.stop[X] - box.start[X];
    VoxelForest<uint32_t> forest(labels);
    BlockJoins<Code> scan(faces, box, low, high);
    std::fill(labels, labels + size, 0);
    for (int64_t z = box.start[Z]; z < box.stop[Z]; ++z) {
        run.check();
        for (int64_t y = box.start[Y]; y < box.stop[Y]; ++y) {
            const Code *joins = scan.next(z, y), *direction = scan.directions(z, y);
            const int64_t row = z * stride[Z] + y * stride[Y] + box.start[X];
            const int inside_yz = (y > box.start[Y] ? JOIN_Y : 0) | (z > box.start[Z] ? JOIN_Z : 0);
            const bool rim = y == box.start[Y] || y + 1 == box.stop[Y] || z == box.start[Z] || z + 1 == box.stop[Z];
            auto note = [&](int64_t i) {
                asks[row + i] = uint8_t((joins[i] & 7) | (direction[i] == HIGH_X) * ASK_X |
                                        (direction[i] == HIGH_Y) * ASK_Y | (direction[i] == HIGH_Z) * ASK_Z);
            };
            for (int64_t i = 0; rim && i < n; ++i) note(i);
            note(0);
            note(n - 1);
            for (int64_t i = 0; i < n; ++i) {
                const int64_t v = row + i;
                if (!(joins[i] & FOREGROUND)) continue;
                const int joined = joins[i] & (inside_yz | (i ? JOIN_X : 0));
                if (!joined) {
                    forest.root(v);
                    continue;
                }
                uint32_t root = uint32_t(-1);
                for (int axis : {X, Y, Z}) {
                    if (!(joined & (JOIN_X << (X - axis)))) continue;
                    const uint32_t other = uint32_t(v - stride[axis]);
                    root = root == uint32_t(-1) ? forest.find(other) : forest.unite(root, other);
                }
                forest.attach(v, root);
            }
        }
    }
    std::vector<uint32_t> first;
    for (int64_t v = 0; v < size; ++v)
        if (forest.is_root(v)) first.push_back(uint32_t(v));
    forest.number(size, run);
    return first;
}

// The smallest member of the set of each of n things, after uniting pairs of them.
inline std::vector<uint64_t> unite(uint64_t n, const uint64_t* a, const uint64_t* b, size_t pairs) {
    std::vector<uint64_t> up(n);
    for (uint64_t i = 0; i < n; ++i) up[i] = i;
    auto find = [&](uint64_t v) {
        for (; up[v] != v; v = up[v]) up[v] = up[up[v]];
        return v;
    };
    for (size_t i = 0; i < pairs; ++i) {
        const uint64_t p = find(a[i]), q = find(b[i]);
        up[std::max(p, q)] = std::min(p, q);
    }
    for (uint64_t i = 0; i < n; ++i) up[i] = up[up[i]];  // what is smaller is settled
    return up;
}

}  // namespace neuropil
