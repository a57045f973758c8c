// Kernels on small random volumes, for the sanitizers: the same result as slow versions', on any number of threads and
// in any blocks.
#include <cstdio>
#include <cstdlib>

#include "batches.hpp"
#include "chance.hpp"
#include "costs.hpp"
#include "fill.hpp"
#include "hostile.hpp"
#include "merge_blocks.hpp"
#include "min_size.hpp"
#include "mutex_watershed.hpp"
#include "quantiles.hpp"
#include "segments.hpp"
#include "signed_graph.hpp"
#include "signed_part.hpp"
#include "size_rule.hpp"
#include "slow.hpp"
#include "watershed.hpp"

using namespace neuropil;

namespace {

// Every channel has memory of its own, so that reading beyond it is found.
struct Volume {
    Shape shape{random(1, 9), random(1, 12), random(1, 40)};
    std::array<std::vector<uint8_t>, 3> codes;
    std::vector<uint32_t> value;
    Faces<uint8_t> faces;

    Volume() : value(256) {
        const int family = random(0, 9);
        for (int i = 0; i < 256; ++i) value[i] = uint32_t(i);
        faces.shape = shape;
        for (int axis : {Z, Y, X}) {
            codes[axis] = hostile::codes(shape, family);
            faces.codes[axis] = codes[axis].data();
            faces.shift[axis] = random(0, 1) * shape.strides()[axis];
        }
    }
};

std::vector<uint32_t> fragments_of(const Volume& volume, int threads) {
    std::vector<uint32_t> labels(volume.shape.size());
    const Run run{threads};
    Watershed<uint8_t, uint32_t>(volume.faces, 20, 250, labels.data(), run)();
    return labels;
}

// A box of a volume whose faces at the sides of the box are 0: the watershed of the box alone.
void check_block(const Volume& volume) {
    const Shape& shape = volume.shape;
    Box box;
    for (int axis : {Z, Y, X}) {
        const int extent = int(std::array<int64_t, 3>{shape.z, shape.y, shape.x}[axis]);
        box.start[axis] = random(0, extent - 1);
        box.stop[axis] = random(int(box.start[axis]) + 1, extent);
    }
    std::vector<uint32_t> labels(shape.size());
    std::vector<uint8_t> asks(shape.size());
    std::vector<uint32_t> first;
    const Run run{random(1, 4)};
    Watershed<uint8_t, uint32_t>(volume.faces, box, 20, 250, labels.data(), asks.data(), run)(&first);
    const auto whole = fragments_of(volume, 1);
    std::map<uint32_t, uint32_t> fragment;
    for (int64_t v = 0; v < shape.size(); ++v) {
        const auto place = slow::place_of(shape, v);
        bool inside = true;
        for (int axis : {Z, Y, X}) inside = inside && box.start[axis] <= place[axis] && place[axis] < box.stop[axis];
        expect(inside ? (labels[v] > 0) == (whole[v] > 0) : labels[v] == 0, "foreground of a block");
        // What is one in the block is one in the volume.
        if (labels[v]) expect(fragment.insert({labels[v], whole[v]}).first->second == whole[v], "watershed of a block");
    }
    expect(first.size() == fragment.size(), "first voxels of a block");
    for (size_t i = 0; i < first.size(); ++i) expect(labels[first[i]] == i + 1, "order of first voxels of a block");
    if (int64_t(box.stop[Z] - box.start[Z]) * (box.stop[Y] - box.start[Y]) * (box.stop[X] - box.start[X]) ==
        shape.size())
        expect(labels == whole, "watershed of the whole as a block");
}

template <class Score>
auto tree_of(const Volume& volume, const std::vector<uint32_t>& labels, Score score, std::array<int64_t, 3> block,
             int threads) {
    const uint32_t count = *std::max_element(labels.begin(), labels.end());
    const Run run{threads};
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
    const uint64_t count = *std::max_element(wide.begin(), wide.end());
    const Run run{random(1, 4)};
    const int64_t half = shape.z / 2;
    std::vector<Merge<Score>> merges;
    std::vector<Part<Score>> rests;
    auto merge = [&](std::vector<Part<Score>> parts, std::vector<uint8_t> frozen) {
        BandMerger<Score> merger(std::move(parts), count, 255, Score(), size_t(random(1, 100)), run);
        return merger.part(frozen, {}, merges);
    };
    for (const auto& [first, last] : {std::pair(int64_t(0), half), std::pair(half, shape.z)}) {
        const Box box{{first, 0, 0}, {last, shape.y, shape.x}};
        Score score;
        Part<Score> part{score, part_graph(AnyFaces(volume.faces), wide.data(), volume.value.data(), box, score, run)};
        std::vector<uint8_t> frozen(count + 1);
        for (int64_t v = std::max<int64_t>(0, half - 1) * shape.y * shape.x; v < (half + 1) * shape.y * shape.x; ++v)
            if (half) frozen[wide[v]] = 1;
        std::vector<Part<Score>> parts;
        parts.push_back(std::move(part));
        rests.push_back(merge(std::move(parts), std::move(frozen)));
    }
    const auto left = merge(std::move(rests), std::vector<uint8_t>(count + 1));
    expect(left.edges.empty(), "nothing waits in the whole");
    merges = sort_merges(std::move(merges), 255, run);
    std::vector<std::pair<uint32_t, uint32_t>> pairs;
    for (const auto& merge : merges) pairs.emplace_back(merge.a, merge.b);
    expect(pairs == tree_of(volume, labels, Mean<uint32_t>(), {99, 99, 99}, 1), "halves");
}

void check_region_graph(const Volume& volume, const std::vector<uint32_t>& labels) {
    const Run run{random(1, 5)};
    Summary<uint32_t> score;
    Quantile<uint32_t> quantile(random(0, 100), 8);
    const auto edges = region_graph(AnyFaces(volume.faces), labels.data(), volume.value.data(), score, run);
    const auto histograms = region_graph(AnyFaces(volume.faces), labels.data(), volume.value.data(), quantile, run);
    const auto expected = slow::region_graph(volume.faces, labels);
    expect(edges.size() == expected.size() && histograms.size() == expected.size(), "region graph");
    size_t e = 0;
    for (auto [ends, faces] : expected) {
        uint64_t sum = 0;
        uint32_t key = 0;
        for (const auto& [code, face] : faces) sum += volume.value[code], key = std::max(key, face);
        const auto& stats = edges[e].stats;
        expect(ends == std::pair(edges[e].a, edges[e].b), "ends");
        expect(stats.sum == sum && stats.count == faces.size() && stats.key == key, "sums and keys");
        std::sort(faces.begin(), faces.end());
        expect(stats.min == faces.front().first && stats.max == faces.back().first, "extremes");
        auto next = faces.begin();
        const auto& bins = histograms[e].stats;
        expect(ends == std::pair(histograms[e].a, histograms[e].b) && bins.count == faces.size(), "histograms");
        quantile.each_bin(bins, [&](uint16_t code, uint64_t count) {
            for (uint64_t n = 0; n < count; ++n) expect((next++)->first == code, "histograms");
        });
        expect(next == faces.end(), "all faces in histograms");
        ++e;
    }
}

void check_fill(const Volume& volume, std::vector<uint32_t> labels) {
    const int share = random(0, 10);
    for (auto& label : labels) label = random(0, 9) < share ? 0 : label;
    const auto expected = slow::fill(volume.faces, labels);
    fill_background(volume.faces, labels.data(), Run());
    expect(labels == expected, "filling");
}

std::vector<uint64_t> sizes_of(const std::vector<uint32_t>& labels) {
    std::vector<uint64_t> sizes(size_t(*std::max_element(labels.begin(), labels.end())) + 1, 0);
    for (uint32_t label : labels) sizes[label] += label > 0;
    return sizes;
}

// Segments of two or three fragments each, whose edges come in several parts.
template <class Score>
void check_min_size(const Volume& volume, const std::vector<uint32_t>& labels) {
    const Run run;
    Score score;
    const auto edges = region_graph(AnyFaces(volume.faces), labels.data(), volume.value.data(), score, run);
    const auto fragments = sizes_of(labels);
    std::vector<uint32_t> segment(fragments.size());
    const uint32_t together = random(1, 3);
    for (uint32_t f = 1; f < segment.size(); ++f) segment[f] = (f - 1) / together + 1;
    std::vector<uint64_t> sizes(size_t(segment.back()) + 1, 0);
    for (size_t f = 1; f < segment.size(); ++f) sizes[segment[f]] += fragments[f];
    slow::Graph<typename Score::Stats> graph;
    for (const auto& edge : edges)
        if (segment[edge.a] != segment[edge.b]) slow::add(graph, score, segment[edge.a], segment[edge.b], edge.stats);
    const uint64_t least = random(0, 60);
    const auto found = absorb_small(contract_edges<Score>(edges, segment.data(), run), score, sizes, least, run);
    expect(found == slow::absorb_small(graph, score, sizes, least), "minimum size");
}

void check_size_rule(const Volume& volume, const std::vector<uint32_t>& labels) {
    const Run run;
    Summary<uint32_t> score;
    std::vector<std::pair<uint32_t, uint32_t>> edges;
    for (const auto& edge : region_graph(AnyFaces(volume.faces), labels.data(), volume.value.data(), score, run))
        edges.emplace_back(edge.a, edge.b);
    std::shuffle(edges.begin(), edges.end(), rng);
    std::vector<uint64_t> order;
    std::vector<uint32_t> a, b;
    for (const auto& [p, q] : edges) order.push_back(a.size()), a.push_back(p), b.push_back(q);
    const uint64_t size = random(0, 40), dust = random(0, 20);
    const auto sizes = sizes_of(labels);
    const auto region = merge_by_size(a.data(), b.data(), order.data(), order.size(), sizes, size, dust, run);
    expect(region == slow::merge_by_size(edges, sizes, size, dust), "merging by size");
}

const std::array<int64_t, 3> OFFSETS[3] = {{-1, 0, 0}, {0, 1, 0}, {0, -2, 3}};

// Spread wide, there are more ranks than edges are counted into one by one.
std::vector<uint32_t> sweep_ranks(uint32_t spread = 1) {
    std::vector<uint32_t> rank(3 * 256);
    for (int i = 0; i < 3 * 256; ++i) {
        const int weight = i % 256 - 128;
        rank[i] = weight == 0 ? SignedEdges<uint8_t>::NEVER
                              : (uint32_t(128 - std::abs(weight)) * 3 + uint32_t(i / 256)) * spread;
        if (weight < 0) rank[i] |= SignedEdges<uint8_t>::REPULSIVE;
    }
    return rank;
}

SignedEdges<uint8_t> signed_edges(const Volume& volume, const std::vector<uint32_t>& rank) {
    SignedEdges<uint8_t> edges;
    edges.shape = volume.shape;
    for (int e = 0; e < 3; ++e) {
        edges.channels.push_back(volume.codes[e].data());
        edges.offsets.push_back(OFFSETS[e]);
    }
    edges.rank = rank.data();
    edges.codes = 256;
    return edges;
}

std::vector<uint32_t> mutex_of(const SignedEdges<uint8_t>& edges, const uint32_t* seeds, int threads) {
    std::vector<uint32_t> labels(edges.shape.size());
    const Run run{threads};
    MutexWatershed<uint8_t, uint32_t>(edges, seeds, labels.data(), run)();
    return labels;
}

// With strides, a mask and seeds, each of them now and then.
void check_mutex(const Volume& volume) {
    const auto rank = sweep_ranks(random(0, 1) ? 1 : 64);
    auto edges = signed_edges(volume, rank);
    if (random(0, 1)) edges.strides = {random(1, 3), random(1, 3), random(1, 5)};
    std::vector<uint8_t> mask(volume.shape.size());
    std::vector<uint32_t> seeds(volume.shape.size());
    for (auto& use : mask) use = uint8_t(random(0, 3) > 0);
    for (auto& seed : seeds) seed = uint32_t(std::max(0, random(-60, 5)));
    if (random(0, 1)) edges.mask = mask.data();
    const uint32_t* given = random(0, 1) ? seeds.data() : nullptr;
    expect(mutex_of(edges, given, random(1, 5)) == slow::mutex_watershed(edges, given), "mutex watershed");
}

SignedVolume<uint8_t> signed_volume(const Volume& volume, const std::vector<uint32_t>& rank,
                                    const std::vector<int64_t>& weight, const std::vector<uint64_t>& labels) {
    SignedVolume<uint8_t> signs;
    signs.shape = signs.whole = volume.shape;
    signs.core = {{0, 0, 0}, {volume.shape.z, volume.shape.y, volume.shape.x}};
    for (int e = 0; e < 3; ++e) {
        signs.channels.push_back(volume.codes[e].data());
        signs.offsets.push_back(OFFSETS[e]);
    }
    signs.rank = rank.data(), signs.weight = weight.data(), signs.codes = 256, signs.labels = labels.data();
    return signs;
}

std::vector<int64_t> sweep_weights() {
    std::vector<int64_t> weight(3 * 256);
    for (int i = 0; i < 3 * 256; ++i) weight[i] = i % 256 - 128;
    return weight;
}

template <class Score>
void check_clusters(const std::vector<SignedEdge>& edges, size_t nodes, uint64_t top) {
    std::vector<LocalEdge<Score>> local;
    slow::Graph<SignedStats> graph;
    for (const auto& edge : edges) {
        local.push_back({uint32_t(edge.a - 1), uint32_t(edge.b - 1), edge.stats});
        graph.insert({{local.back().a, local.back().b}, edge.stats});
    }
    const auto found = cluster_signed<Score>(nodes, local, top, Run());
    expect(found == slow::clusters<Score>(nodes, graph), "clusters of fragments");
}

// One part that knows all its edges.
void check_part(const std::vector<SignedEdge>& edges, size_t nodes) {
    std::vector<PartEdge> list;
    slow::Graph<SignedStats> graph;
    for (const auto& edge : edges) {
        const auto& stats = edge.stats;
        const uint32_t sign = stats.repulsive && stats.key.rank != SweepPlace::NEVER ? PartEdge::REPULSIVE : 0;
        list.push_back({uint32_t(edge.a - 1), uint32_t(edge.b - 1), stats.key.rank | sign, stats.key.voxel});
        graph.insert({{list.back().a, list.back().b}, stats});
    }
    std::vector<uint8_t> waits(nodes);
    const Run run;
    SignedPart part(waits, run);
    part.sweep(list);
    const auto expected = slow::clusters<AbsMaxLinkage>(nodes, graph);
    expect(part.clusters() == std::vector<uint64_t>(expected.begin(), expected.end()), "a part of signed edges");
}

// GASP on fragments. Few of them: the slow version looks at all edges for every merge.
void check_gasp(const Volume& volume, const std::vector<uint32_t>& labels) {
    const auto rank = sweep_ranks();
    const auto weight = sweep_weights();
    std::vector<uint64_t> few(labels.begin(), labels.end());
    uint64_t nodes = 0;
    for (auto& label : few) nodes = std::max(nodes, label = label ? 1 + label % 60 : 0);
    if (!nodes) return;
    auto signs = signed_volume(volume, rank, weight, few);
    if (random(0, 1)) signs.strides = {random(1, 3), random(1, 3), random(1, 5)};
    const auto edges = signed_graph(signs, Run{random(1, 4)});
    check_part(edges, nodes);
    check_clusters<AbsMaxLinkage>(edges, nodes, SignedEdges<uint8_t>::TOP);
    check_clusters<MeanLinkage<false>>(edges, nodes, 129);
    check_clusters<MeanLinkage<true>>(edges, nodes, 129);
}

// The mutex watershed by the signed graph of single voxels.
std::vector<uint32_t> mutex_by_graph(const Volume& volume, int threads) {
    const auto rank = sweep_ranks();
    const auto weight = sweep_weights();
    std::vector<uint64_t> voxels(volume.shape.size());
    std::iota(voxels.begin(), voxels.end(), 1);
    const Run run{threads};
    std::vector<LocalEdge<AbsMaxLinkage>> edges;
    for (const auto& edge : signed_graph(signed_volume(volume, rank, weight, voxels), run)) {
        expect(edge.a < edge.b, "signed graph");
        edges.push_back({uint32_t(edge.a - 1), uint32_t(edge.b - 1), edge.stats});
    }
    const auto cluster = cluster_signed<AbsMaxLinkage>(voxels.size(), edges, SignedEdges<uint8_t>::TOP, run);
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
        auto labels = fragments_of(volume, 1);
        expect(labels == fragments_of(volume, random(2, 5)), "watershed");
        labels = hostile::fragments(volume.shape, random(0, 7), std::move(labels));
        check_block(volume);
        check_tree(volume, labels, Mean<uint32_t>(), "mean");
        check_tree(volume, labels, Extreme<uint32_t, true>(), "max");
        check_tree(volume, labels, Extreme<uint32_t, false>(), "min");
        check_tree(volume, labels, Quantile<uint32_t>(random(0, 100), 8), "quantile");
        check_tree(volume, labels, Quantile<uint32_t>(random(0, 100), 16), "quantile of 16 bits");
        quantiles::check(8);
        quantiles::check(16);
        check_halves(volume, labels);
        check_region_graph(volume, labels);
        check_fill(volume, labels);
        batches::check<int8_t>();
        batches::check<int16_t>();
        batches::check<int32_t>();
        batches::check<int64_t>();
        check_min_size<Mean<uint32_t>>(volume, labels);
        check_min_size<Extreme<uint32_t, false>>(volume, labels);
        segments::check<Mean<uint32_t>>(volume, labels);
        segments::check<Extreme<uint32_t, true>>(volume, labels);
        segments::check_encode();
        costs::check<float>();
        costs::check<Brain>();
        check_size_rule(volume, labels);
        const auto rank = sweep_ranks();
        const auto mutex = mutex_of(signed_edges(volume, rank), nullptr, random(1, 5));
        expect(mutex == mutex_by_graph(volume, random(1, 4)), "signed clusters");
        check_mutex(volume);
        check_gasp(volume, labels);
    }
    std::printf("%d volumes, all equal\n", rounds);
}
