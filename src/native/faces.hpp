// Nearest-neighbour affinities as faces between voxels, for offsets of either sign.
#pragma once
#include <array>
#include <cstdint>

namespace neuropil {

// Axes in storage order. A face is named by its lower voxel and its axis: 3 * (linear index of the lower voxel) + axis.
enum Axis { Z = 0, Y = 1, X = 2 };

struct Shape {
    int64_t z = 0, y = 0, x = 0;

    int64_t size() const { return z * y * x; }
    int64_t rows() const { return z * y; }
    std::array<int64_t, 3> strides() const { return {y * x, x, 1}; }
};

// Half-open box of voxels.
struct Box {
    std::array<int64_t, 3> start, stop;
};

// codes[axis][v - shift[axis]] is the face between voxel v and the one before it on that axis. An offset of -1 stores
// the face at v (shift 0); an offset of +1 stores it at the lower voxel (shift = stride). Values of faces that would
// leave the volume are never read.
template <class Code>
struct Faces {
    Shape shape;
    std::array<const Code*, 3> codes{};
    std::array<int64_t, 3> shift{};

    Code at(int axis, int64_t voxel) const { return codes[axis][voxel - shift[axis]]; }
    const Code* row(int axis, int64_t voxel) const { return codes[axis] + (voxel - shift[axis]); }
};

// The same for kernels that read boundary faces only, which need not be compiled for each type of code.
struct AnyFaces {
    Shape shape;
    std::array<const uint8_t*, 3> bytes{};
    std::array<const uint16_t*, 3> words{};  // used where bytes are null
    std::array<int64_t, 3> shift{};

    AnyFaces() = default;
    AnyFaces(const Faces<uint8_t>& faces) : shape(faces.shape), bytes(faces.codes), shift(faces.shift) {}
    AnyFaces(const Faces<uint16_t>& faces) : shape(faces.shape), words(faces.codes), shift(faces.shift) {}

    uint16_t at(int axis, int64_t voxel) const {
        return bytes[axis] ? bytes[axis][voxel - shift[axis]] : words[axis][voxel - shift[axis]];
    }
};

}  // namespace neuropil
