// Encoding of affinities: the code is the number of thresholds that an affinity reaches.
#pragma once
#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <vector>

#include "labels.hpp"

namespace neuropil {

// The code of p is the number of thresholds that are at most p. Thresholds ascend, within [0, 1]. The bits of p, or of
// 1 - p in the upper half, select a bin with few thresholds; so bins are fine near 0 and 1, as logits need it.
class Encoder {
  public:
    Encoder(const float* thresholds, size_t count) : thresholds_(thresholds, thresholds + count) {
        thresholds_.push_back(2);  // a sentinel that no affinity reaches
        const float least = std::max(thresholds_[0], 1e-9f);
        first_ = std::bit_cast<uint32_t>(std::min({least, 1 - thresholds_[count - 1] + 1e-9f, 0.25f})) >> SHIFT;
        bins_ = (std::bit_cast<uint32_t>(0.5f) >> SHIFT) - first_ + 1;
        start_.resize(2 * bins_);
        for (size_t bin = 0; bin < bins_; ++bin) {
            // The smallest p of each bin: on the upper side the one with the largest 1 - p.
            const float lower = bin ? std::bit_cast<float>(uint32_t(first_ + bin) << SHIFT) : 0.0f;
            const float upper = 1 - std::bit_cast<float>((uint32_t(first_ + bin + 1) << SHIFT) - 1);
            start_[bin] = uint16_t(code(lower));
            start_[bins_ + bin] = uint16_t(code(std::max(upper, 0.5f)));
            most_ = std::max({most_, bin ? start_[bin] - start_[bin - 1] : 0,
                              bin ? start_[bins_ + bin - 1] - start_[bins_ + bin] : 0});
        }
        most_ = std::max({most_, int(count) - start_[bins_], int(code(0.5f)) - start_[bins_ - 1]});
    }

    // Returns false if any p is no affinity; its code is then undefined.
    template <class Code>
    bool operator()(const float* p, int64_t count, Code* codes) const {
        bool good = true;
        for (int64_t i = 0; i < count; ++i) {
            const float value = p[i] + 0.0f;  // no negative zeros
            good &= value >= 0 && value <= 1;
            const bool upper = value >= 0.5f;
            const float side = upper ? 1 - value : value;
            const uint32_t bits = std::bit_cast<uint32_t>(side) >> SHIFT;
            const uint32_t bin = std::min(std::max(bits, first_) - first_, uint32_t(bins_ - 1));
            uint32_t found = start_[bin + (upper ? bins_ : 0)];
            for (int step = 0; step < most_; ++step) found += value >= thresholds_[found];
            codes[i] = Code(found);
        }
        return good;
    }

  private:
    static constexpr int SHIFT = 11;  // 4096 bins for every factor of two

    size_t code(float p) const {
        return size_t(std::upper_bound(thresholds_.begin(), thresholds_.end() - 1, p) - thresholds_.begin());
    }

    std::vector<float> thresholds_;
    uint32_t first_;
    size_t bins_;
    std::vector<uint16_t> start_;
    int most_ = 1;
};

template <class Code>
bool encode(const Encoder& encoder, const float* p, int64_t count, Code* codes, const Run& run) {
    std::atomic<bool> good{true};
    each_piece(run, count, pieces_of(run, count), "encode", [&](int64_t, int64_t begin, int64_t end) {
        if (!encoder(p + begin, end - begin, codes + begin)) good.store(false);
    });
    return good;
}

}  // namespace neuropil
