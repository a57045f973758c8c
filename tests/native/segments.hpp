// Labels of all voxels, segments at one threshold, and codes of affinities, on small random inputs.
#pragma once
#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "chance.hpp"
#include "encode.hpp"
#include "labels.hpp"
#include "merge_blocks.hpp"
#include "min_size.hpp"
#include "slow.hpp"

namespace segments {

using namespace neuropil;

// One threshold without the tree: the merges that reach it, then the minimum size on the graph of what they made.
template <class Score, class Volume>
void check(const Volume& volume, const std::vector<uint32_t>& labels) {
    const Run run{random(1, 4)};
    Score score;
    const uint32_t count = largest_label(labels.data(), int64_t(labels.size()), run);
    expect(count == *std::max_element(labels.begin(), labels.end()), "largest label");
    std::vector<uint64_t> expected(size_t(count) + 1, 0);
    for (const uint32_t label : labels) ++expected[label];
    const auto voxels = count_labels(labels.data(), int64_t(labels.size()), expected.size(), run);
    expect(voxels == expected, "voxels");
    const std::array<int64_t, 3> block{random(1, 5), random(1, 9), random(1, 20)};
    auto merger = [&] {
        return BlockMerger<Score>(volume.faces, labels.data(), count, volume.value.data(), 255, score, block, run);
    };
    const Reaches<Score> enough{double(random(0, 256)), 1};
    Names<uint32_t> names(count);
    for (const auto& merge : merger()())
        if (enough(merge.stats)) names.unite(merge.a, merge.b);
    std::vector<uint32_t> segment(voxels.size());
    std::vector<uint64_t> sizes(1, 0);
    for (uint32_t f = 1; f <= count; ++f) {
        if (names.find(f) == f) sizes.push_back(0);
        segment[f] = names.find(f) == f ? uint32_t(sizes.size() - 1) : segment[names.find(f)];
        sizes[segment[f]] += voxels[f];
    }
    const uint64_t least = random(0, 60);
    const auto edges = region_graph(AnyFaces(volume.faces), labels.data(), volume.value.data(), score, run);
    const auto joined = absorb_small(contract_edges<Score>(edges, segment.data(), run), score, sizes, least, run);
    auto [region, parts] = merger().regions(enough);
    const auto found = segments_of(region, std::move(parts), score, voxels, least, run);
    std::map<uint32_t, uint32_t> number{{0, 0}};
    for (uint32_t s = 1; s < sizes.size(); ++s)
        if (joined[s] == s) number.insert({s, uint32_t(number.size())});
    std::vector<uint32_t> named(labels.size());
    relabel(labels.data(), int64_t(labels.size()), found.data(), named.data(), run);
    for (size_t v = 0; v < labels.size(); ++v)
        expect(named[v] == number.at(labels[v] ? joined[segment[labels[v]]] : 0), "segments");
}

// As many thresholds as are reached, ends and values between them included.
void check_encode() {
    std::vector<float> thresholds(random(1, 300)), values{0, 1, 0.5f, -0.0f};
    for (auto& t : thresholds) t = float(random(1, 100000)) / 100000;
    std::sort(thresholds.begin(), thresholds.end());
    for (const float t : thresholds)
        for (const float p : {t, std::nextafter(t, 0.0f), std::nextafter(t, 1.0f)}) values.push_back(std::min(p, 1.0f));
    for (int i = 0; i < 500; ++i) values.push_back(float(random(0, 1 << 24)) / (1 << 24));
    std::vector<uint16_t> codes(values.size());
    const Encoder encoder(thresholds.data(), thresholds.size());
    const int64_t count = int64_t(values.size());
    expect(encode(encoder, values.data(), count, codes.data(), Run{random(1, 3)}), "affinities");
    for (size_t i = 0; i < values.size(); ++i)
        expect(codes[i] == std::upper_bound(thresholds.begin(), thresholds.end(), values[i]) - thresholds.begin(),
               "codes");
    for (const float wrong : {-1e-9f, 1.0001f, std::nanf(""), INFINITY}) {
        values[random(0, int(count) - 1)] = wrong;
        expect(!encode(encoder, values.data(), count, codes.data(), Run{}), "no affinities");
        for (auto& value : values) value = value == value ? std::clamp(value, 0.0f, 1.0f) : 0;
    }
}

}  // namespace segments
