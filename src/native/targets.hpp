// Training targets from labels: where neurons meet (erosion), and which edges join two voxels of one neuron
// (affinities). Plain loops over rows, which compilers vectorise.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "parallel.hpp"

namespace neuropil {

// A strided array whose last axis is contiguous.
template <class T, std::size_t Axes>
struct Rows {
    const T* data;
    std::array<int64_t, Axes> shape, stride;  // in items
};

// Calls sink(y, low, high) for each row of complete windows of (2·steps + 1)² voxels in a section, with the smallest
// and largest positive id: neurons meet in window x if low[x] < high[x]. Ids are stored as N; returns false, without
// calling sink, if they are too large for that.
template <class N, class T, class Sink>
bool each_meeting(const T* labels, int64_t stride, int64_t height, int64_t width, int64_t steps, Sink&& sink) {
    const int64_t inner = width - 2 * steps, rows = height - 2 * steps, window = 2 * steps;
    // After subtracting 1, clearing the sign bit makes background the largest number, so that the minimum ignores it.
    constexpr N TOP = std::numeric_limits<N>::max();
    std::vector<N> row(width), high(height * inner), low(height * inner);
    T all = 0;
    for (int64_t y = 0; y < height; ++y) {
        const T* given = labels + y * stride;
        N *h = &high[y * inner], *l = &low[y * inner];
        for (int64_t x = 0; x < width; ++x) {
            const T id = std::max<T>(given[x], 0);
            all |= id, row[x] = N(id - 1);
        }
        for (int64_t x = 0; x < inner; ++x) h[x] = row[x], l[x] = row[x] & TOP;
        for (int64_t k = 1; k <= window; ++k)
            for (int64_t x = 0; x < inner; ++x) {
                const N id = row[x + k];
                h[x] = std::max(h[x], id), l[x] = std::min<N>(l[x], id & TOP);
            }
    }
    if (all > TOP) return false;
    for (int64_t y = 0; y < rows; ++y) {
        N *h = &high[y * inner], *l = &low[y * inner];
        for (int64_t k = 1; k <= window; ++k)
            for (int64_t x = 0; x < inner; ++x)
                h[x] = std::max(h[x], h[k * inner + x]), l[x] = std::min(l[x], l[k * inner + x]);
        sink(y, l, h);
    }
    return true;
}

// Labels [n, y, x] without `steps` voxels on each side in y and x, and 0 where neurons meet; or, where Out is bool,
// whether they meet.
template <class T, class Out>
void erode(const Rows<T, 3>& labels, int64_t steps, Out* out, const Run& run) {
    const auto [count, height, width] = labels.shape;
    const int64_t inner = width - 2 * steps, rows = height - 2 * steps;
    if (inner <= 0 || rows <= 0) return;
    parallel_for(run, count, [&, height = height, width = width](int64_t n) {
        const T* section = labels.data + n * labels.stride[0];
        auto tell = [&](int64_t y, const auto* low, const auto* high) {
            const T* __restrict ids = section + (y + steps) * labels.stride[1] + steps;
            Out* __restrict to = out + (n * rows + y) * inner;
            for (int64_t x = 0; x < inner; ++x) {
                if constexpr (std::is_same_v<Out, bool>)
                    to[x] = low[x] < high[x];
                else
                    to[x] = low[x] < high[x] ? 0 : ids[x];
            }
        };
        // Most ids are small, and every CPU has vector instructions for the minimum and maximum of 16 bits.
        if constexpr (sizeof(T) > 2)
            if (each_meeting<int16_t>(section, labels.stride[1], height, width, steps, tell)) return;
        each_meeting<T>(section, labels.stride[1], height, width, steps, tell);
    });
}

// Edges from the voxels of a row to their partners: whether both are known, and whether they are one neuron. `own` says
// which voxels have an id and are known. Output arrays overlap nothing else (__restrict); voxels and partners, which
// are only read, may be the same row.
template <class T, class Length>
void join_piece(const T* __restrict ids, const T* __restrict partners, const uint8_t* __restrict own,
                const uint8_t* __restrict known, const uint8_t* __restrict known_partners, Length count,
                uint8_t* __restrict joined, uint8_t* __restrict valid) {
    for (int64_t x = 0; x < count; ++x) valid[x] = known[x] & known_partners[x];
    for (int64_t x = 0; x < count; ++x) joined[x] = uint8_t(ids[x] == partners[x]) & own[x] & known_partners[x];
}

// The same in pieces of a length that the compiler knows; the last one may overlap the one before.
template <class T>
void join_row(const T* ids, const T* partners, const uint8_t* own, const uint8_t* known, const uint8_t* known_partners,
              int64_t count, uint8_t* joined, uint8_t* valid) {
    constexpr std::integral_constant<int64_t, 64> PIECE;
    auto piece = [&](int64_t x, auto length) {
        join_piece(ids + x, partners + x, own + x, known + x, known_partners + x, length, joined + x, valid + x);
    };
    if (count < PIECE) return piece(0, count);
    for (int64_t x = 0; x + PIECE <= count; x += PIECE) piece(x, PIECE);
    if (count % PIECE) piece(count - PIECE, PIECE);
}

// Affinities and validity [batch, edge, z, y, x] of labels [batch, z, y, x]; `known` (0 or 1) says which voxels may be
// used. Edges that leave the volume are neither.
template <class T>
struct Join {
    Rows<T, 4> labels;
    Rows<uint8_t, 4> known;
    const std::vector<std::array<int64_t, 3>>& offsets;
    uint8_t *joined, *valid;

    void operator()(const Run& run) const {
        const int64_t depth = labels.shape[1], edges = int64_t(offsets.size());
        parallel_for(run, labels.shape[0] * depth, [&](int64_t section) {
            const int64_t b = section / depth, z = section % depth;
            const std::vector<uint8_t> own = usable(b, z);
            for (int64_t e = 0; e < edges; ++e) {
                const int64_t other = z + offsets[e][0];
                const int64_t first = (b * edges + e) * depth + z;
                join_section(b, z, 0 <= other && other < depth ? other : -1, offsets[e], own, first);
            }
        });
    }

  private:
    template <class U>
    static const U* row(const Rows<U, 4>& of, int64_t b, int64_t z, int64_t y) {
        return of.data + b * of.stride[0] + z * of.stride[1] + y * of.stride[2];
    }

    // Voxels of a section with an id that may be used.
    std::vector<uint8_t> usable(int64_t b, int64_t z) const {
        const int64_t height = labels.shape[2], width = labels.shape[3];
        std::vector<uint8_t> own(height * width);
        for (int64_t y = 0; y < height; ++y) {
            const T* ids = row(labels, b, z, y);
            const uint8_t* use = row(known, b, z, y);
            uint8_t* __restrict out = own.data() + y * width;
            for (int64_t x = 0; x < width; ++x) out[x] = uint8_t(ids[x] != 0) & use[x];
        }
        return own;
    }

    // One edge of one section; its partners lie in section `other`, -1 for outside. `place` counts sections of the
    // result.
    void join_section(int64_t b, int64_t z, int64_t other, const std::array<int64_t, 3>& offset,
                      const std::vector<uint8_t>& own, int64_t place) const {
        const int64_t height = labels.shape[2], width = labels.shape[3], dx = offset[2];
        for (int64_t y = 0; y < height; ++y) {
            const int64_t there = y + offset[1];
            const bool inside = other >= 0 && 0 <= there && there < height;
            const int64_t begin = inside ? std::clamp<int64_t>(-dx, 0, width) : width;
            const int64_t end = inside ? std::clamp<int64_t>(width - dx, begin, width) : width;
            uint8_t *values = joined + (place * height + y) * width, *validity = valid + (place * height + y) * width;
            for (uint8_t* out : {values, validity}) {
                if (begin > 0) std::fill_n(out, begin, 0);
                if (end < width) std::fill_n(out + end, width - end, 0);
            }
            if (begin == end) continue;
            join_row(row(labels, b, z, y) + begin, row(labels, b, other, there) + begin + dx, &own[y * width + begin],
                     row(known, b, z, y) + begin, row(known, b, other, there) + begin + dx, end - begin, values + begin,
                     validity + begin);
        }
    }
};

}  // namespace neuropil
