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

// Where the codes of affinities begin: a bin of the bits of p, or of 1 - p in the upper half, holds at most one
// threshold more than the code of its smallest p says.
struct CodeBins {
    const float* thresholds;
    const int32_t* start;  // code of the smallest p of each bin, of both halves
    int32_t first, last;   // bits of the first bin; how many follow in a half
    int shift;
};

// False where p is no affinity; then its code means nothing. Codes of a row wait in an array of their own: it cannot
// overlap the tables, which lets the compiler work on many affinities at once.
template <class Code>
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
            const int32_t bin = std::min(std::max(bits - own.first, 0), own.last) + (upper ? own.last + 1 : 0);
            found[i] = own.start[bin] + int32_t(value >= own.thresholds[own.start[bin]]);
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
        for (shift_ = COARSE; fill(count), most_ > 1 && shift_ > FINE; --shift_) {
        }
    }

    // Returns false if any p is no affinity; its code is then undefined.
    template <class Code>
    bool operator()(const float* p, int64_t count, Code* codes) const {
        const int32_t last = int32_t(start_.size() / 2) - 1;
        if (most_ == 1) return encode_piece({thresholds_.data(), start_.data(), first_, last, shift_}, p, count, codes);
        bool good = true;
        for (int64_t i = 0; i < count; ++i) {
            const float value = p[i] + 0.0f;
            good &= value >= 0 && value <= 1;
            const bool upper = value >= 0.5f;
            const int32_t bits = std::bit_cast<int32_t>(upper ? 1 - value : value) >> shift_;
            int32_t found = start_[std::min(std::max(bits - first_, 0), last) + (upper ? last + 1 : 0)];
            for (int step = 0; step < most_; ++step) found += value >= thresholds_[found];
            codes[i] = Code(found);
        }
        return good;
    }

  private:
    static constexpr int COARSE = 17, FINE = 11;  // 64 to 4096 bins for every factor of two

    // Bins of the width of ``shift_``, and how many thresholds one of them may hold.
    void fill(size_t count) {
        const float least = std::max(thresholds_[0], 1e-9f);
        first_ = std::bit_cast<int32_t>(std::min({least, 1 - thresholds_[count - 1] + 1e-9f, 0.25f})) >> shift_;
        const size_t bins = size_t((std::bit_cast<int32_t>(0.5f) >> shift_) - first_ + 1);
        start_.assign(2 * bins, 0);
        most_ = 1;
        for (size_t bin = 0; bin < bins; ++bin) {
            // The smallest p of each bin: on the upper side the one with the largest 1 - p.
            const auto begin = [&](size_t n) {
                return std::bit_cast<float>((uint32_t(first_) + uint32_t(n)) << shift_);
            };
            const float upper = 1 - std::bit_cast<float>(std::bit_cast<uint32_t>(begin(bin + 1)) - 1);
            start_[bin] = code(bin ? begin(bin) : 0.0f);
            start_[bins + bin] = code(std::max(upper, 0.5f));
            if (bin)
                most_ = std::max({most_, start_[bin] - start_[bin - 1], start_[bins + bin - 1] - start_[bins + bin]});
        }
        most_ = std::max({most_, int(count) - start_[bins], code(0.5f) - start_[bins - 1]});
    }

    int32_t code(float p) const {
        return int32_t(std::upper_bound(thresholds_.begin(), thresholds_.end() - 1, p) - thresholds_.begin());
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
