// Families of inputs that real tissue never gives: codes all alike, that rise, or that are noise between good sections;
// fragments of single voxels, around a hub, in combs, and rods that touch all others. See tests/reference/hostile.py.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "chance.hpp"
#include "watershed.hpp"

namespace hostile {

using namespace neuropil;

// Codes of one channel.
inline std::vector<uint8_t> codes(const Shape& shape, int family) {
    std::vector<uint8_t> found(shape.size());
    const int levels = random(2, 200), axis = random(0, 2);
    const uint8_t one = uint8_t(random(0, 255)), other = uint8_t(random(0, 255));
    const int64_t good = random(0, int(shape.z));
    for (int64_t v = 0; v < shape.size(); ++v) {
        const int64_t place[] = {v / (shape.y * shape.x), v / shape.x % shape.y, v % shape.x};
        const int64_t extent[] = {shape.z, shape.y, shape.x};
        const uint8_t noise = uint8_t(random(0, levels) * (255 / levels));
        switch (family) {
            case 0:
                found[v] = one;
                break;
            case 1:
                found[v] = random(0, 1) ? one : other;
                break;
            case 2:
                found[v] = uint8_t(255 * place[axis] / std::max<int64_t>(1, extent[axis] - 1));
                break;
            case 3:
                found[v] = place[0] == good ? noise : uint8_t(random(250, 255));
                break;
            case 4:
                found[v] = uint8_t(random(120, 136));
                break;
            default:
                found[v] = noise;
        }
    }
    return found;
}

// Fragments 1, 2, …; those of the watershed are given, for families that have no others.
inline std::vector<uint32_t> fragments(const Shape& shape, int family, std::vector<uint32_t> given) {
    if (family > 3) return given;
    std::vector<uint32_t> number(shape.size() + 1, 0);
    uint32_t count = 0;
    for (int64_t v = 0; v < shape.size(); ++v) {
        const int64_t z = v / (shape.y * shape.x), y = v / shape.x % shape.y, x = v % shape.x;
        int64_t id = v;  // family 0: every voxel is one
        if (family == 1 && z == 0) id = 0;
        if (family == 2 && y > 0 && x % 4 == 0) id = 0;
        if (family == 2 && x % 4 == 2) id = 2;
        if (family == 3) id = z % 2 ? y : std::min(shape.y + x, shape.size());
        if (!number[id]) number[id] = ++count;
        given[v] = number[id];
    }
    return given;
}

}  // namespace hostile
