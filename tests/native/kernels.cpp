// Kernels on small random volumes, for the sanitizers: the same result on any number of threads and in any blocks.
#include <cstdio>
#include <cstdlib>
#include <random>

#include "merge_blocks.hpp"
#include "min_size.hpp"
#include "mutex_watershed.hpp"
#include "watershed.hpp"

using namespace neuropil;

namespace {

std::mt19937 rng(1);

int random(int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng); }

void expect(bool holds, const char* what) {
    if (holds) return;
    std::printf("not equal: %s\n", what);
    std::exit(1);
}

struct Volume {
    Shape shape{random(1, 9), random(1, 12), random(1, 40)};
    std::vector<uint8_t> codes;
    std::vector<uint32_t> value;
    Faces<uint8_t> faces;

    Volume() : codes(3 * shape.size()), value(256) {
        const int levels = random(2, 200);
        for (auto& code : codes) code = uint8_t(random(0, levels) * (255 / levels));
        for (int i = 0; i < 256; ++i) value[i] = uint32_t(i);
        faces.shape = shape;
        for (int axis : {Z, Y, X}) faces.codes[axis] = codes.data() + axis * shape.size();
    }
};

std::vector<uint32_t> fragments_of(const Volume& volume, int threads) {
    std::vector<uint32_t> labels(volume.shape.size());
    const Run run{threads, nullptr};
    Watershed<uint8_t, uint32_t>(volume.faces, 20, 250, labels.data(), run)();
    return labels;
}

template <class Score>
auto tree_of(const Volume& volume, const std::vector<uint32_t>& labels, Score score, std::array<int64_t, 3> block,
             int threads) {
    const uint32_t count = *std::max_element(labels.begin(), labels.end());
    const Run run{threads, nullptr};
    auto merges = BlockMerger<Score>(volume.faces, labels.data(), count, volume.value.data(), 255, score, block, run)();
    std::vector<std::pair<uint32_t, uint32_t>> pairs;
    for (const auto& merge : merges) pairs.emplace_back(merge.a, merge.b);
    return pairs;
}

template <class Score>
void check_tree(const Volume& volume, const std::vector<uint32_t>& labels, Score score, const char* what) {
    const auto whole = tree_of(volume, labels, score, {99, 99, 99}, 1);
    expect(whole == tree_of(volume, labels, score, {random(1, 5), random(1, 9), random(1, 20)}, random(1, 4)), what);
}

std::vector<uint32_t> mutex_of(const Volume& volume, int threads) {
    SignedEdges<uint8_t> edges;
    edges.shape = volume.shape;
    const std::array<int64_t, 3> offsets[3] = {{-1, 0, 0}, {0, 1, 0}, {0, -2, 3}};
    std::vector<uint32_t> rank(3 * 256);
    for (int i = 0; i < 3 * 256; ++i) {
        const int weight = i % 256 - 128;
        rank[i] = uint32_t(128 - std::abs(weight)) * 3 + uint32_t(i / 256);
        if (weight < 0) rank[i] |= SignedEdges<uint8_t>::REPULSIVE;
    }
    for (int e = 0; e < 3; ++e) {
        edges.channels.push_back(volume.codes.data() + e * volume.shape.size());
        edges.offsets.push_back(offsets[e]);
    }
    edges.rank = rank.data();
    edges.codes = 256;
    std::vector<uint32_t> labels(volume.shape.size());
    const Run run{threads, nullptr};
    MutexWatershed<uint8_t, uint32_t>(edges, nullptr, labels.data(), run)();
    return labels;
}

}  // namespace

int main(int count, char** arguments) {
    const int rounds = count > 1 ? std::atoi(arguments[1]) : 200;
    for (int round = 0; round < rounds; ++round) {
        const Volume volume;
        const auto labels = fragments_of(volume, 1);
        expect(labels == fragments_of(volume, random(2, 5)), "watershed");
        check_tree(volume, labels, Mean<uint32_t>(), "mean");
        check_tree(volume, labels, Extreme<uint32_t, true>(), "max");
        check_tree(volume, labels, Quantile<uint32_t>(random(0, 100), 8), "quantile");
        expect(mutex_of(volume, 1) == mutex_of(volume, random(2, 5)), "mutex watershed");
    }
    std::printf("%d volumes, all equal\n", rounds);
}
