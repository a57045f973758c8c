// Weighted cross-entropy of edges, and its gradient, in one pass each over logits in float or bfloat16.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <vector>

#include "clones.hpp"
#include "parallel.hpp"

namespace neuropil {

// A bfloat16: the upper half of a float.
struct Brain {
    uint16_t bits;
};

inline float widened(float value) { return value; }
inline float widened(Brain value) { return std::bit_cast<float>(uint32_t(value.bits) << 16); }

inline void narrow(float value, float& out) { out = value; }
inline void narrow(float value, Brain& out) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;  // to the nearest, ties to even
    out.bits = uint16_t(value == value ? rounded : 0x7fc0);
}

// exp of a value of at most 0, to 2 units in the last place; results below 1e-38 become 1e-38.
inline float exp_below(float value) {
    const float x = value < -87.0f ? -87.0f : value;
    const float shifted = x * 1.44269504f + 12582912.0f;  // its last bits hold x / ln 2, rounded to an integer
    const float whole = shifted - 12582912.0f;
    const float rest = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    float sum = 1.9875691500e-4f;  // the polynomials are those of Cephes (S. Moshier)
    sum = sum * rest + 1.3981999507e-3f;
    sum = sum * rest + 8.3334519073e-3f;
    sum = sum * rest + 4.1665795894e-2f;
    sum = sum * rest + 1.6666665459e-1f;
    sum = sum * rest + 5.0000001201e-1f;
    sum = sum * rest * rest + rest + 1.0f;
    const uint32_t power = (std::bit_cast<uint32_t>(shifted) + 127u) << 23;
    return sum * std::bit_cast<float>(power);
}

// log of a value from 1 to 2.
inline float log_above(float value) {
    const bool upper = value > 1.41421356f;
    const float x = (upper ? value * 0.5f : value) - 1.0f;
    float sum = 7.0376836292e-2f;
    sum = sum * x - 1.1514610310e-1f;
    sum = sum * x + 1.1676998740e-1f;
    sum = sum * x - 1.2420140846e-1f;
    sum = sum * x + 1.4249322787e-1f;
    sum = sum * x - 1.6668057665e-1f;
    sum = sum * x + 2.0000714765e-1f;
    sum = sum * x - 2.4999993993e-1f;
    sum = sum * x + 3.3333331174e-1f;
    const float square = x * x;
    return x + (sum * x * square - 0.5f * square) + (upper ? 0.693147181f : 0.0f);
}

// Weights of positive and negative edges, and label smoothing.
struct EdgeCost {
    float there, not_there, smoothing;
};

constexpr int64_t COST_PIECE = 1 << 14;

// The loss of up to COST_PIECE edges: softplus(z) - smoothing · z each, where z is the logit, or minus the logit of a
// positive edge. Invalid edges have loss 0 for any logit.
template <class Logit>
NEUROPIL_CLONES double piece_cost(const Logit* logits, const uint8_t* target, const uint8_t* valid, int64_t count,
                                  const EdgeCost& cost) {
    constexpr int64_t ROW = 256;
    double total = 0;
    std::array<float, ROW> each;
    for (int64_t begin = 0; begin < count; begin += ROW) {
        const int64_t size = std::min(ROW, count - begin);
        const Logit* logit = logits + begin;
        const uint8_t *is = target + begin, *use = valid + begin;
        for (int64_t i = 0; i < size; ++i) {
            const float value = widened(logit[i]), z = is[i] ? -value : value;
            const float soft = (z > 0 ? z : 0.0f) + log_above(1.0f + exp_below(z > 0 ? -z : z));
            const float less = cost.smoothing > 0 ? cost.smoothing * z : 0.0f;  // 0 · infinity would be NaN
            const float one = (is[i] ? cost.there : cost.not_there) * (soft - less);
            each[i] = use[i] ? one : 0.0f;
        }
        std::fill(each.begin() + size, each.end(), 0.0f);
        std::array<float, 16> lanes{};
        for (int64_t i = 0; i < ROW; i += 16)
            for (int64_t lane = 0; lane < 16; ++lane) lanes[lane] += each[i + lane];
        for (const float lane : lanes) total += lane;
    }
    return total;
}

// The gradient of that loss by each logit, times a factor.
template <class Logit>
NEUROPIL_CLONES void piece_slope(const Logit* logits, const uint8_t* target, const uint8_t* valid, int64_t count,
                                 const EdgeCost& cost, float factor, Logit* slope) {
    for (int64_t i = 0; i < count; ++i) {
        const float value = widened(logits[i]), z = target[i] ? -value : value;
        const float small = exp_below(z > 0 ? -z : z), wrong = (z > 0 ? 1.0f : small) / (1.0f + small);
        const float weight = (target[i] ? -cost.there : cost.not_there) * factor;
        narrow(valid[i] ? (wrong - cost.smoothing) * weight : 0.0f, slope[i]);
    }
}

// Edges of a batch as [batch · channel, voxel]; the costs of channel c are those of costs[c].
template <class Logit>
struct EdgeLoss {
    const Logit* logits;
    const uint8_t *target, *valid;
    int64_t rows, voxels;
    std::vector<EdgeCost> costs;

    template <class Work>
    void each_piece(const Run& run, Work&& work) const {
        const int64_t pieces = (voxels + COST_PIECE - 1) / COST_PIECE;
        parallel_for(run, rows * pieces, [&](int64_t n) {
            const int64_t row = n / pieces, begin = n % pieces * COST_PIECE;
            work(n, row * voxels + begin, std::min(COST_PIECE, voxels - begin), costs[row % costs.size()]);
        });
    }

    // Summed in a fixed order, so that the result does not depend on the number of threads.
    double total(const Run& run) const {
        std::vector<double> parts(rows * ((voxels + COST_PIECE - 1) / COST_PIECE));
        each_piece(run, [&](int64_t n, int64_t at, int64_t count, const EdgeCost& cost) {
            parts[n] = piece_cost(logits + at, target + at, valid + at, count, cost);
        });
        double sum = 0;
        for (const double part : parts) sum += part;
        return sum;
    }

    void slopes(float factor, Logit* slope, const Run& run) const {
        each_piece(run, [&](int64_t, int64_t at, int64_t count, const EdgeCost& cost) {
            piece_slope(logits + at, target + at, valid + at, count, cost, factor, slope + at);
        });
    }
};

}  // namespace neuropil
