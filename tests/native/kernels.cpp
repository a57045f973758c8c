// Kernels on small random volumes, for the sanitizers: the same result on any number of threads and in any blocks.
#include <cstdio>
#include <cstdlib>
#include <random>

#include "merge_blocks.hpp"
#include "min_size.hpp"
#include "mutex_watershed.hpp"
#include "parts.hpp"
#include "signed_graph.hpp"
#include "size_rule.hpp"
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

// The tree of two halves and what is left of them, in the order of greedy merging.
void check_halves(const Volume& volume, const std::vector<uint32_t>& labels) {
    using Score = Mean<uint64_t>;
    const Shape& shape = volume.shape;
    const std::vector<uint64_t> wide(labels.begin(), labels.end());
    const Run run;
    const int64_t half = shape.z / 2;
    std::vector<Merge<Score>> merges;
    Part<Score> rest{Score(), {}};
    for (const auto& [first, last] : {std::pair(int64_t(0), half), std::pair(half, shape.z)}) {
        const Box box{{first, 0, 0}, {last, shape.y, shape.x}};
        Part<Score> part{Score(), {}};
        part.edges = part_graph(AnyFaces(volume.faces), wide.data(), volume.value.data(), box, part.score, run);
        auto [local, table] = number_regions(part, run);
        for (int64_t v = std::max<int64_t>(0, half - 1) * shape.y * shape.x; v < (half + 1) * shape.y * shape.x; ++v) {
            const uint32_t region = half ? table.find(wide[v]) : NameTable<uint64_t>::NONE;
            if (region != NameTable<uint64_t>::NONE) local.blocked[region] = true;
        }
        const auto left = merge_part(std::move(local), part.score, 255, merges, run);
        rest.edges.insert(rest.edges.end(), left.edges.begin(), left.edges.end());
    }
    merge_part(number_regions(rest, run).first, rest.score, 255, merges, run);
    sort_merges(merges, 255, run);
    std::vector<std::pair<uint32_t, uint32_t>> pairs;
    for (const auto& merge : merges) pairs.emplace_back(merge.a, merge.b);
    expect(pairs == tree_of(volume, labels, Mean<uint32_t>(), {99, 99, 99}, 1), "halves");
}

void check_sizes(const Volume& volume, const std::vector<uint32_t>& labels) {
    const Run run;
    Summary<uint32_t> score;
    const auto edges = region_graph(AnyFaces(volume.faces), labels.data(), volume.value.data(), score, run);
    std::vector<uint64_t> sizes(size_t(*std::max_element(labels.begin(), labels.end())) + 1, 0), order;
    std::vector<uint32_t> a, b;
    for (uint32_t label : labels) sizes[label] += label > 0;
    for (const auto& edge : edges) order.push_back(a.size()), a.push_back(edge.a), b.push_back(edge.b);
    const auto region = merge_by_size(a.data(), b.data(), order.data(), order.size(), sizes, uint64_t(1) << 40, 0, run);
    for (const auto& edge : edges) expect(region[edge.a] == region[edge.b], "merging by size");
}

const std::array<int64_t, 3> OFFSETS[3] = {{-1, 0, 0}, {0, 1, 0}, {0, -2, 3}};

std::vector<uint32_t> sweep_ranks() {
    std::vector<uint32_t> rank(3 * 256);
    for (int i = 0; i < 3 * 256; ++i) {
        const int weight = i % 256 - 128;
        rank[i] = weight == 0 ? SignedEdges<uint8_t>::NEVER : uint32_t(128 - std::abs(weight)) * 3 + uint32_t(i / 256);
        if (weight < 0) rank[i] |= SignedEdges<uint8_t>::REPULSIVE;
    }
    return rank;
}

std::vector<uint32_t> mutex_of(const Volume& volume, int threads) {
    SignedEdges<uint8_t> edges;
    edges.shape = volume.shape;
    const auto rank = sweep_ranks();
    for (int e = 0; e < 3; ++e) {
        edges.channels.push_back(volume.codes.data() + e * volume.shape.size());
        edges.offsets.push_back(OFFSETS[e]);
    }
    edges.rank = rank.data();
    edges.codes = 256;
    std::vector<uint32_t> labels(volume.shape.size());
    const Run run{threads, nullptr};
    MutexWatershed<uint8_t, uint32_t>(edges, nullptr, labels.data(), run)();
    return labels;
}

// The same by the signed graph of single voxels.
std::vector<uint32_t> mutex_by_graph(const Volume& volume, int threads) {
    const auto rank = sweep_ranks();
    std::vector<int64_t> weight(3 * 256);
    for (int i = 0; i < 3 * 256; ++i) weight[i] = i % 256 - 128;
    std::vector<uint64_t> voxels(volume.shape.size());
    for (size_t v = 0; v < voxels.size(); ++v) voxels[v] = v + 1;
    SignedVolume<uint8_t> signs;
    signs.shape = signs.whole = volume.shape;
    signs.core = {{0, 0, 0}, {volume.shape.z, volume.shape.y, volume.shape.x}};
    for (int e = 0; e < 3; ++e) {
        signs.channels.push_back(volume.codes.data() + e * volume.shape.size());
        signs.offsets.push_back(OFFSETS[e]);
    }
    signs.rank = rank.data(), signs.weight = weight.data(), signs.codes = 256, signs.labels = voxels.data();
    const Run run{threads, nullptr};
    std::vector<LocalEdge<AbsMaxLinkage>> edges;
    std::vector<LocalEdge<MeanLinkage<true>>> same;
    for (const auto& edge : signed_graph(signs, run)) {
        expect(edge.a < edge.b, "signed graph");
        edges.push_back({uint32_t(edge.a - 1), uint32_t(edge.b - 1), edge.stats});
        same.push_back({edges.back().a, edges.back().b, edge.stats});
    }
    const auto cluster = cluster_signed<AbsMaxLinkage>(voxels.size(), edges, SignedEdges<uint8_t>::TOP, run);
    cluster_signed<MeanLinkage<true>>(voxels.size(), same, 129, run);
    std::vector<uint32_t> labels(voxels.size());
    uint32_t next = 0;
    for (uint32_t v = 0; v < labels.size(); ++v) labels[v] = cluster[v] == v ? ++next : labels[cluster[v]];
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
        const auto mutex = mutex_of(volume, 1);
        expect(mutex == mutex_of(volume, random(2, 5)), "mutex watershed");
        expect(mutex == mutex_by_graph(volume, random(1, 4)), "signed clusters");
        check_halves(volume, labels);
        check_sizes(volume, labels);
    }
    std::printf("%d volumes, all equal\n", rounds);
}
