// Activations of a network in 8 bits: bfloat16 values in even steps between their least and largest.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "clones.hpp"
#include "parallel.hpp"

namespace neuropil {

// Signed numbers in the order of the bfloat16 values whose bits are given; NaN comes before or after all others.
inline int16_t in_order(uint16_t bits) { return int16_t(bits ^ ((bits & 0x8000) ? 0x7fff : 0)); }

inline float from_bits(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }

// The value of a code is step * (code - zero). A step of NaN: a value was not finite.
struct Steps {
    float step = 1;
    int zero = 0;
};

// The least and the largest of the values and 0, as numbers in their order.
NEUROPIL_CLONES std::array<int16_t, 2> ends_of(const uint16_t* values, int64_t count) {
    int16_t low = 0, high = 0;
    for (int64_t i = 0; i < count; ++i) {
        const int16_t here = in_order(values[i]);
        low = std::min(low, here);
        high = std::max(high, here);
    }
    return {low, high};
}

NEUROPIL_CLONES void codes_of(const uint16_t* values, int64_t count, float each, float zero, uint8_t* codes) {
    for (int64_t i = 0; i < count; ++i) {
        const float place = from_bits(values[i]) * each + zero;
        codes[i] = uint8_t(int32_t(std::min(std::max(place, 0.0f), 255.0f)));
    }
}

// Calls work(begin, end, piece) for pieces of [0, count), by threads.
template <class Work>
void by_pieces(int64_t count, const Run& run, const char* name, Work&& work) {
    constexpr int64_t PIECE = 1 << 16;
    auto one = [&](int64_t piece) { work(piece * PIECE, std::min(count, (piece + 1) * PIECE), piece); };
    parallel_for(run, (count + PIECE - 1) / PIECE, one, name);
}

// Writes the codes of bfloat16 values, given as bits; with `rectify` negative values count as 0. If a value is not
// finite, no code is written, and the step is NaN.
inline Steps to_codes(const uint16_t* values, int64_t count, bool rectify, uint8_t* codes, const Run& run) {
    std::vector<std::array<int16_t, 2>> ends(size_t(count >> 16) + 1, {0, 0});
    by_pieces(count, run, "range of activations", [&](int64_t begin, int64_t end, int64_t piece) {
        ends[size_t(piece)] = ends_of(values + begin, end - begin);
    });
    int16_t low = 0, high = 0;
    for (const auto& [least, largest] : ends) {
        low = std::min(low, least);
        high = std::max(high, largest);
    }
    const float from = from_bits(uint16_t(low < 0 ? low ^ 0x7fff : low)), to = from_bits(uint16_t(high));
    if (!std::isfinite(from) || !std::isfinite(to)) return {std::numeric_limits<float>::quiet_NaN(), 0};
    const float least = rectify ? 0 : from;
    const float step = std::max((to - least) / 255, std::numeric_limits<float>::min());
    const auto zero = int(std::lround(-least / step));
    by_pieces(count, run, "codes of activations", [&](int64_t begin, int64_t end, int64_t) {
        codes_of(values + begin, end - begin, 1 / step, float(zero) + 0.5f, codes + begin);
    });
    return {step, zero};
}

}  // namespace neuropil
