// Grey values of bytes, by a table for each section.
#pragma once
#include <array>
#include <cstdint>

#include "parallel.hpp"

namespace neuropil {

// found[z, y, x] = table[z][image[z, y, x]]; the image may lie transposed in memory.
inline void look_up(const uint8_t* image, const std::array<int64_t, 3>& shape, const std::array<int64_t, 3>& stride,
                    const float* table, float* found, const Run& run) {
    const auto [depth, height, width] = shape;
    parallel_for(run, depth, [&, height = height, width = width](int64_t z) {
        const float* greys = table + z * 256;
        for (int64_t y = 0; y < height; ++y) {
            const uint8_t* row = image + z * stride[0] + y * stride[1];
            float* out = found + (z * height + y) * width;
            for (int64_t x = 0; x < width; ++x) out[x] = greys[row[x * stride[2]]];
        }
    });
}

}  // namespace neuropil
