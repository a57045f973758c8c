// Bindings of other ways to merge a graph: signed clustering, merging by size, merging in the order of a queue.
#pragma once
#include "columns.hpp"
#include "queue_order.hpp"
#include "signed_graph.hpp"
#include "signed_part.hpp"
#include "size_rule.hpp"

namespace neuropil {

using SignedColumns = std::tuple<List<const uint64_t>, List<const uint64_t>, List<const int64_t>, List<const uint64_t>,
                                 List<const uint32_t>, List<const uint64_t>>;
using NewSignedColumns = std::tuple<NewList<uint64_t>, NewList<uint64_t>, NewList<int64_t>, NewList<uint64_t>,
                                    NewList<uint32_t>, NewList<uint64_t>>;
using Triple = std::tuple<int64_t, int64_t, int64_t>;

inline std::array<int64_t, 3> array_of(const Triple& triple) {
    return {std::get<0>(triple), std::get<1>(triple), std::get<2>(triple)};
}

// Ranks carry bit 31 where an edge repels.
inline NewSignedColumns signed_columns(const std::vector<SignedEdge>& edges) {
    constexpr uint32_t REPULSIVE = SignedEdges<uint8_t>::REPULSIVE;
    return std::make_tuple(
        column<uint64_t>(edges, [](const auto& e) { return e.a; }),
        column<uint64_t>(edges, [](const auto& e) { return e.b; }),
        column<int64_t>(edges, [](const auto& e) { return e.stats.sum; }),
        column<uint64_t>(edges, [](const auto& e) { return e.stats.count; }),
        column<uint32_t>(edges, [](const auto& e) { return e.stats.key.rank | e.stats.repulsive * REPULSIVE; }),
        column<uint64_t>(edges, [](const auto& e) { return e.stats.key.voxel; }));
}

inline SignedStats stats_of(const SignedColumns& columns, size_t e) {
    constexpr uint32_t REPULSIVE = SignedEdges<uint8_t>::REPULSIVE;
    const auto& [a, b, sum, count, rank, voxel] = columns;
    const uint32_t place = rank.data()[e];
    const bool never = place == SweepPlace::NEVER;
    return {sum.data()[e],
            count.data()[e],
            {never ? place : place & ~REPULSIVE, voxel.data()[e]},
            !never && (place & REPULSIVE),
            false};
}

// Names of nodes in ascending order, and the smallest name in the cluster of each.
template <class Score>
std::tuple<NewList<uint64_t>, NewList<uint64_t>> signed_clusters(const SignedColumns& columns, uint64_t top) {
    std::vector<uint64_t> names, clusters;
    run_interruptibly(1, [&](const Run& run) {
        Part<Score> part{Score(), {}};
        part.edges.resize(std::get<0>(columns).size());
        for (size_t e = 0; e < part.edges.size(); ++e)
            part.edges[e] = {std::get<0>(columns).data()[e], std::get<1>(columns).data()[e], stats_of(columns, e)};
        // Names in ascending order, so that the smallest node of a cluster has its smallest name.
        for (const auto& edge : part.edges) names.push_back(edge.a), names.push_back(edge.b);
        std::sort(names.begin(), names.end());
        names.erase(std::unique(names.begin(), names.end()), names.end());
        if (names.empty()) return;
        NameTable<uint64_t> table(names.size());
        for (const uint64_t name : names) table.add(name);
        std::vector<LocalEdge<Score>> edges;
        edges.reserve(part.edges.size());
        for (const auto& edge : part.edges) {
            const uint32_t a = table.find(edge.a), b = table.find(edge.b);
            edges.push_back({std::min(a, b), std::max(a, b), edge.stats});
        }
        for (const uint32_t cluster : cluster_signed<Score>(names.size(), std::move(edges), top, run))
            clusters.push_back(names[cluster]);
    });
    return std::make_tuple(to_numpy(std::move(names)), to_numpy(std::move(clusters)));
}

// Columns (a, b, rank, voxel) of edges between regions 0 … waits.size() - 1, and pairs that exclude each other. Returns
// each region's cluster, which regions are deferred, and the remaining edges and pairs, by smallest region of a
// cluster.
using NewPartColumns = std::tuple<NewList<uint64_t>, NewList<uint64_t>, NewList<uint32_t>, NewList<uint64_t>>;
inline std::tuple<NewList<uint64_t>, NewList<uint8_t>, NewPartColumns, NewList<uint64_t>, NewList<uint64_t>>
signed_part(
    const std::tuple<List<const uint64_t>, List<const uint64_t>, List<const uint32_t>, List<const uint64_t>>& columns,
    List<const uint64_t> bar_a, List<const uint64_t> bar_b, List<const uint8_t> frozen) {
    std::vector<uint8_t> waits(frozen.data(), frozen.data() + frozen.size());
    std::vector<PartEdge> edges;
    std::vector<uint64_t> clusters;
    SignedPart::Pairs excluded;
    run_interruptibly(1, [&](const Run& run) {
        const auto& [a, b, rank, voxel] = columns;
        edges.reserve(a.size());
        for (size_t e = 0; e < a.size(); ++e)
            edges.push_back({uint32_t(a.data()[e]), uint32_t(b.data()[e]), rank.data()[e], voxel.data()[e]});
        SignedPart part(waits, run);
        for (size_t i = 0; i < bar_a.size(); ++i) part.exclude(uint32_t(bar_a.data()[i]), uint32_t(bar_b.data()[i]));
        edges = part.sweep(std::move(edges));
        clusters = part.clusters();
        excluded = part.excluded();
    });
    return std::make_tuple(to_numpy(std::move(clusters)), to_numpy(std::move(waits)),
                           std::make_tuple(column<uint64_t>(edges, [](const auto& e) { return e.a; }),
                                           column<uint64_t>(edges, [](const auto& e) { return e.b; }),
                                           column<uint32_t>(edges, [](const auto& e) { return e.rank; }),
                                           column<uint64_t>(edges, [](const auto& e) { return e.voxel; })),
                           column<uint64_t>(excluded, [](const auto& p) { return p.first; }),
                           column<uint64_t>(excluded, [](const auto& p) { return p.second; }));
}

template <class Code>
void bind_signed_graph(nb::module_& m) {
    using Channels = nb::ndarray<const Code, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
    using Offsets = nb::ndarray<const int64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
    m.def(
        "signed_graph",
        [](Channels channels, Offsets offsets, List<const uint32_t> rank, List<const int64_t> weight,
           Volume<const uint64_t> labels, Triple strides, Triple start, Triple stop, Triple origin, Triple whole,
           int threads) {
            SignedVolume<Code> volume;
            volume.shape = {int64_t(labels.shape(0)), int64_t(labels.shape(1)), int64_t(labels.shape(2))};
            volume.whole = {std::get<0>(whole), std::get<1>(whole), std::get<2>(whole)};
            volume.origin = array_of(origin), volume.strides = array_of(strides);
            volume.core = {array_of(start), array_of(stop)};
            for (size_t e = 0; e < channels.shape(0); ++e) {
                volume.channels.push_back(channels.data() + e * volume.shape.size());
                volume.offsets.push_back({offsets.data()[3 * e], offsets.data()[3 * e + 1], offsets.data()[3 * e + 2]});
            }
            volume.rank = rank.data(), volume.weight = weight.data();
            volume.codes = rank.size() / channels.shape(0);
            volume.labels = labels.data();
            std::vector<SignedEdge> edges;
            run_interruptibly(threads, [&](const Run& run) { edges = signed_graph(volume, run); });
            return signed_columns(edges);
        },
        "channels"_a, "offsets"_a, "rank"_a, "weight"_a, "labels"_a, "strides"_a, "start"_a, "stop"_a, "origin"_a,
        "whole"_a, "threads"_a);
}

template <class Index>
void bind_size_rule(nb::module_& m) {
    m.def(
        "merge_by_size",
        [](List<const Index> a, List<const Index> b, List<const uint64_t> order, List<const uint64_t> sizes,
           uint64_t size, uint64_t dust) {
            std::vector<Index> region;
            run_interruptibly(1, [&](const Run& run) {
                std::vector<uint64_t> own(sizes.data(), sizes.data() + sizes.size());
                region = merge_by_size(a.data(), b.data(), order.data(), order.size(), std::move(own), size, dust, run);
            });
            return to_numpy(std::move(region));
        },
        "a"_a, "b"_a, "order"_a, "sizes"_a, "size"_a, "dust"_a);
    m.def(
        "merge_in_order",
        [](List<const Index> a, List<const Index> b, List<const uint64_t> sizes, uint64_t size, uint64_t dust) {
            std::vector<uint64_t> counts(sizes.data(), sizes.data() + sizes.size());
            std::vector<Index> region;
            run_interruptibly(1, [&](const Run& run) {
                region = merge_in_order(a.data(), b.data(), a.size(), counts, size, dust, run);
            });
            return std::make_tuple(to_numpy(std::move(region)), to_numpy(std::move(counts)));
        },
        "a"_a, "b"_a, "sizes"_a, "size"_a, "dust"_a);
}

// For scores that are codes: not for the mean.
template <class Index>
NewMerges<Index> queue_order_columns(const EdgeColumns<Index>& columns, const BinColumns& bins,
                                     const ScoreTuple& chosen, size_t nodes, bool first_in_first_out) {
    return with_score<Index>(chosen, [&](auto score) {
        using Score = decltype(score);
        std::vector<Merge<Score>> merges;
        if constexpr (!std::is_same_v<Score, Mean<Index>>)
            run_interruptibly(1, [&](const Run& run) {
                auto part = make_part(std::move(score), columns, bins, run);
                merges = first_in_first_out ? QueueOrder<Score, BinQueue>(part, nodes, run)()
                                            : QueueOrder<Score, HeapQueue>(part, nodes, run)();
            });
        return merge_columns(merges, 1);
    });
}

inline void bind_signed(nb::module_& m) {
    bind_signed_graph<uint8_t>(m);
    bind_signed_graph<uint16_t>(m);
    m.def(
        "signed_clusters",
        [](const SignedColumns& columns, const std::string& linkage, uint64_t top) {
            if (linkage == "mean") return signed_clusters<MeanLinkage<false>>(columns, top);
            if (linkage == "constrained_mean") return signed_clusters<MeanLinkage<true>>(columns, top);
            return signed_clusters<AbsMaxLinkage>(columns, SignedEdges<uint8_t>::TOP);
        },
        "columns"_a, "linkage"_a, "top"_a);
    m.def("signed_part", &signed_part, "columns"_a, "bar_a"_a, "bar_b"_a, "frozen"_a);
    bind_size_rule<uint32_t>(m);
    bind_size_rule<uint64_t>(m);
    m.def("agglomerate_in_queue_order", &queue_order_columns<uint32_t>, "columns"_a, "bins"_a, "chosen"_a, "nodes"_a,
          "first_in_first_out"_a);
    m.def("agglomerate_in_queue_order", &queue_order_columns<uint64_t>, "columns"_a, "bins"_a, "chosen"_a, "nodes"_a,
          "first_in_first_out"_a);
}

}  // namespace neuropil
