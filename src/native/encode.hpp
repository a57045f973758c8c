// Encoding of affinities: the code is the number of thresholds that an affinity reaches.
#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <vector>

#include "clones.hpp"
#include "labels.hpp"

namespace neuropil {

// Where the codes of affinities begin: each bin of the bits of p, or of 1 - p in the upper half, has the code of its
// smallest p.
struct CodeBins {
    const float* thresholds;
    const int32_t* start;
    int32_t first, last;  // bits of the first bin; how many follow in a half
    int shift;
};

// The codes of a piece, where a bin holds at most STEPS thresholds. Returns false if any p is no affinity; its code is
// then undefined. The codes of a row are first kept in a local array: it cannot overlap the tables, so the compiler
// vectorises the loop.
template <int STEPS, class Code>
NEUROPIL_CLONES bool encode_piece(const CodeBins& bins, const float* p, int64_t count, Code* codes) {
    constexpr int64_t ROW = 512;
    const CodeBins own = bins;
    int32_t bad = 0;
    std::array<int32_t, ROW> found;
    for (int64_t begin = 0; begin < count; begin += ROW) {
        const int64_t size = std::min(ROW, count - begin);
        for (int64_t i = 0; i < size; ++i) {
            const float value = p[begin + i] + 0.0f;  // no negative zeros
            bad |= int32_t(!(value >= 0)) | int32_t(!(value <= 1));
            const bool upper = value >= 0.5f;
            const int32_t bits = std::bit_cast<int32_t>(upper ? 1 - value : value) >> own.shift;
            int32_t code = own.start[std::min(std::max(bits - own.first, 0), own.last) + (upper ? own.last + 1 : 0)];
            code += int32_t(value >= own.thresholds[code]);
            if constexpr (STEPS > 1) code += int32_t(value >= own.thresholds[code]);
            if constexpr (STEPS > 2) code += int32_t(value >= own.thresholds[code]);
            found[i] = code;
        }
        for (int64_t i = 0; i < size; ++i) codes[begin + i] = Code(found[i]);
    }
    return !bad;
}

// The code of p is the number of thresholds that are at most p. Thresholds ascend, within [0, 1]. The bits of p, or of
// 1 - p in the upper half, select a bin with few thresholds; so bins are fine near 0 and 1, as logits need it.
class Encoder {
  public:
    Encoder(const float* thresholds, size_t count) : thresholds_(thresholds, thresholds + count) {
        thresholds_.push_back(2);  // a sentinel that no affinity reaches
        for (shift_ = COARSE; fill(), most_ > 1 && shift_ > FINE; --shift_) {
        }
    }

    // Returns false if any p is no affinity; its code is then undefined.
    template <class Code>
    bool operator()(const float* p, int64_t count, Code* codes) const {
        const int32_t last = int32_t(start_.size() / 2) - 1;
        const CodeBins bins{thresholds_.data(), start_.data(), first_, last, shift_};
        if (most_ == 1) return encode_piece<1>(bins, p, count, codes);
        if (most_ == 2) return encode_piece<2>(bins, p, count, codes);
        if (most_ == 3) return encode_piece<3>(bins, p, count, codes);
        bool good = true;  // crowded thresholds, as of a narrow range
        for (int64_t i = 0; i < count; ++i) {
            good &= p[i] >= 0 && p[i] <= 1;
            codes[i] = Code(std::upper_bound(thresholds_.begin(), thresholds_.end() - 1, p[i]) - thresholds_.begin());
        }
        return good;
    }

  private:
    static constexpr int COARSE = 17, FINE = 11;  // 64 to 4096 bins for every factor of two

    // Bins of the width of ``shift_``, and how many thresholds one of them may hold.
    void fill() {
        const int32_t count = int32_t(thresholds_.size()) - 1;
        const float least = std::max(thresholds_[0], 1e-9f);
        first_ = std::bit_cast<int32_t>(std::min({least, 1 - thresholds_[count - 1] + 1e-9f, 0.25f})) >> shift_;
        const size_t bins = size_t((std::bit_cast<int32_t>(0.5f) >> shift_) - first_ + 1);
        start_.resize(2 * bins);
        const auto begin = [&](size_t bin) { return (uint32_t(first_) + uint32_t(bin)) << shift_; };
        int32_t low = 0, high = count;
        for (size_t bin = 0; bin < bins; ++bin) {
            // The smallest p of each bin: on the upper side the one with the largest 1 - p.
            const float lower = bin ? std::bit_cast<float>(begin(bin)) : 0.0f;
            const float upper = std::max(1 - std::bit_cast<float>(begin(bin + 1) - 1), 0.5f);
            while (low < count && thresholds_[low] <= lower) ++low;
            while (high > 0 && thresholds_[high - 1] > upper) --high;
            start_[bin] = low;
            start_[bins + bin] = high;
        }
        const auto half = std::upper_bound(thresholds_.begin(), thresholds_.end() - 1, 0.5f) - thresholds_.begin();
        most_ = std::max({1, count - start_[bins], int32_t(half) - start_[bins - 1]});
        for (size_t bin = 1; bin < bins; ++bin)
            most_ = std::max({most_, start_[bin] - start_[bin - 1], start_[bins + bin - 1] - start_[bins + bin]});
    }

    std::vector<float> thresholds_;
    std::vector<int32_t> start_;
    int32_t first_ = 0;
    int shift_ = FINE, most_ = 1;
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
