// Bindings of the segmentation kernels. Arguments are checked in Python; here arrays become pointers.
#pragma once
#include <nanobind/stl/optional.h>

#include <optional>

#include "columns.hpp"
#include "fill.hpp"
#include "merge_blocks.hpp"
#include "min_size.hpp"
#include "mutex_watershed.hpp"
#include "region_graph.hpp"
#include "watershed.hpp"

namespace neuropil {

template <class Index>
NewEdges<Index> graph_columns(const AnyFaces& faces, const Index* fragments, const uint32_t* value, int threads) {
    std::vector<Edge<Summary<Index>>> edges;
    run_interruptibly(
        threads,
        [&](const Run& run) {
            Summary<Index> score;
            edges = region_graph(faces, fragments, value, score, run);
        },
        "region graph");
    return edge_columns(edges);
}

template <class Index>
NewBins histogram_columns(const AnyFaces& faces, const Index* fragments, const uint32_t* value, int code_bits,
                          int threads) {
    Quantile<Index> score(50, code_bits);
    std::vector<Edge<Quantile<Index>>> edges;
    run_interruptibly(threads, [&](const Run& run) { edges = region_graph(faces, fragments, value, score, run); });
    return bin_columns(edges, score);
}

template <class Index>
NewMerges<Index> tree_columns(const AnyFaces& faces, const Index* fragments, Index count, List<const uint32_t> value,
                              const ScoreTuple& chosen, std::array<int64_t, 3> block, double scale, int threads) {
    return with_score<Index>(chosen, [&](auto score) {
        using Score = decltype(score);
        const uint64_t top = std::is_same_v<Score, Mean<Index>> ? value.data()[value.size() - 1] : value.size() - 1;
        std::vector<Merge<Score>> merges;
        run_interruptibly(
            threads,
            [&](const Run& run) {
                merges = BlockMerger<Score>(faces, fragments, count, value.data(), top, score, block, run)();
            },
            "agglomerate");
        return merge_columns(merges, scale);
    });
}

// The segment of each fragment, merged down to `stop`, small ones joined.
template <class Index>
NewList<Index> segments_column(const AnyFaces& faces, Volume<const Index> fragments, Index count,
                               List<const uint32_t> value, const ScoreTuple& chosen, std::array<int64_t, 3> block,
                               double stop, double scale, uint64_t min_size, int threads) {
    return with_score<Index>(chosen, [&](auto score) {
        using Score = decltype(score);
        const uint64_t top = std::is_same_v<Score, Mean<Index>> ? value.data()[value.size() - 1] : value.size() - 1;
        std::vector<Index> segments;
        auto kernel = [&](const Run& run) {
            BlockMerger<Score> merger(faces, fragments.data(), count, value.data(), top, score, block, run);
            auto [region, parts] = merger.regions({stop, scale});
            std::vector<uint64_t> voxels;
            if (min_size > 1) voxels = count_labels(fragments.data(), faces.shape.size(), size_t(count) + 1, run);
            segments = segments_of(region, std::move(parts), score, voxels, min_size, run);
        };
        run_interruptibly(threads, kernel, "segments");
        return to_numpy(std::move(segments));
    });
}

template <class Code, class Index>
void bind_on_voxels(nb::module_& m) {
    using Channel = Volume<const Code>;
    m.def(
        "watershed",
        [](Channel z, Channel y, Channel x, int flipped, int low, int high, Volume<Index> labels, int threads) {
            const auto faces = make_faces<Code>(z, y, x, flipped);
            Index count = 0;
            run_interruptibly(
                threads,
                [&](const Run& run) {
                    count = Watershed<Code, Index>(faces, Code(low), Code(high), labels.data(), run)();
                },
                "watershed");
            return count;
        },
        "z"_a, "y"_a, "x"_a, "flipped"_a, "low"_a, "high"_a, "labels"_a, "threads"_a);
    m.def(
        "region_graph",
        [](Channel z, Channel y, Channel x, int flipped, Volume<const Index> fragments, List<const uint32_t> value,
           int threads) {
            return graph_columns<Index>(make_faces<Code>(z, y, x, flipped), fragments.data(), value.data(), threads);
        },
        "z"_a, "y"_a, "x"_a, "flipped"_a, "fragments"_a, "value"_a, "threads"_a);
    m.def(
        "face_histograms",
        [](Channel z, Channel y, Channel x, int flipped, Volume<const Index> fragments, List<const uint32_t> value,
           int threads) {
            const auto faces = make_faces<Code>(z, y, x, flipped);
            return histogram_columns<Index>(faces, fragments.data(), value.data(), 8 * sizeof(Code), threads);
        },
        "z"_a, "y"_a, "x"_a, "flipped"_a, "fragments"_a, "value"_a, "threads"_a);
    m.def(
        "agglomerate",
        [](Channel z, Channel y, Channel x, int flipped, Volume<const Index> fragments, Index count,
           List<const uint32_t> value, ScoreTuple chosen, std::tuple<int64_t, int64_t, int64_t> block, double scale,
           int threads) {
            const std::array<int64_t, 3> shape{std::get<0>(block), std::get<1>(block), std::get<2>(block)};
            const auto faces = make_faces<Code>(z, y, x, flipped);
            return tree_columns<Index>(faces, fragments.data(), count, value, chosen, shape, scale, threads);
        },
        "z"_a, "y"_a, "x"_a, "flipped"_a, "fragments"_a, "count"_a, "value"_a, "chosen"_a, "block"_a, "scale"_a,
        "threads"_a);
    m.def(
        "segment_fragments",
        [](Channel z, Channel y, Channel x, int flipped, Volume<const Index> fragments, Index count,
           List<const uint32_t> value, ScoreTuple chosen, std::tuple<int64_t, int64_t, int64_t> block, double stop,
           double scale, uint64_t min_size, int threads) {
            const std::array<int64_t, 3> shape{std::get<0>(block), std::get<1>(block), std::get<2>(block)};
            const auto faces = make_faces<Code>(z, y, x, flipped);
            return segments_column<Index>(faces, fragments, count, value, chosen, shape, stop, scale, min_size,
                                          threads);
        },
        "z"_a, "y"_a, "x"_a, "flipped"_a, "fragments"_a, "count"_a, "value"_a, "chosen"_a, "block"_a, "stop"_a,
        "scale"_a, "min_size"_a, "threads"_a);
    m.def(
        "fill_background",
        [](Channel z, Channel y, Channel x, int flipped, Volume<Index> labels, int threads) {
            const auto faces = make_faces<Code>(z, y, x, flipped);
            run_interruptibly(threads, [&](const Run& run) { fill_background(faces, labels.data(), run); }, "fill");
        },
        "z"_a, "y"_a, "x"_a, "flipped"_a, "labels"_a, "threads"_a);
}

template <class Code, class Index>
void bind_mutex(nb::module_& m) {
    using Channels = nb::ndarray<const Code, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
    using Offsets = nb::ndarray<const int64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
    m.def(
        "mutex_watershed",
        [](Channels channels, Offsets offsets, List<const uint32_t> rank, std::tuple<int64_t, int64_t, int64_t> strides,
           std::optional<Volume<const uint8_t>> mask, std::optional<Volume<const Index>> seeds, Volume<Index> labels,
           int threads) {
            SignedEdges<Code> edges;
            edges.shape = {int64_t(channels.shape(1)), int64_t(channels.shape(2)), int64_t(channels.shape(3))};
            for (size_t e = 0; e < channels.shape(0); ++e) {
                edges.channels.push_back(channels.data() + e * edges.shape.size());
                edges.offsets.push_back({offsets.data()[3 * e], offsets.data()[3 * e + 1], offsets.data()[3 * e + 2]});
            }
            edges.rank = rank.data();
            edges.codes = rank.size() / channels.shape(0);
            edges.strides = {std::get<0>(strides), std::get<1>(strides), std::get<2>(strides)};
            edges.mask = mask ? mask->data() : nullptr;
            Index count = 0;
            run_interruptibly(threads, [&](const Run& run) {
                count = MutexWatershed<Code, Index>(edges, seeds ? seeds->data() : nullptr, labels.data(), run)();
            });
            return count;
        },
        "channels"_a, "offsets"_a, "rank"_a, "strides"_a, "mask"_a.none(), "seeds"_a.none(), "labels"_a, "threads"_a);
}

template <class Index>
void bind_on_graphs(nb::module_& m) {
    m.def(
        "agglomerate_graph",
        [](const EdgeColumns<Index>& columns, const BinColumns& bins, ScoreTuple chosen, uint64_t top, double scale,
           int threads) {
            return with_score<Index>(chosen, [&](auto score) {
                using Score = decltype(score);
                std::vector<Merge<Score>> merges;
                run_interruptibly(
                    threads,
                    [&](const Run& run) {
                        auto part = make_part(score, columns, bins, run);
                        merge_part(number_regions(part, run).first, part.score, top, merges, run);
                        merges = sort_merges(std::move(merges), top, run);
                    },
                    "agglomerate graph");
                return merge_columns(merges, scale);
            });
        },
        "columns"_a, "bins"_a, "chosen"_a, "top"_a, "scale"_a, "threads"_a);
    m.def(
        "absorb_small",
        [](const EdgeColumns<Index>& columns, const BinColumns& bins, ScoreTuple chosen, List<const Index> segment_of,
           List<const uint64_t> size, uint64_t min_size) {
            return with_score<Index>(chosen, [&](auto score) {
                using Score = decltype(score);
                std::vector<uint64_t> sizes(size.data(), size.data() + size.size());
                std::vector<Index> result;
                run_interruptibly(
                    1,
                    [&](const Run& run) {
                        auto part = make_part(score, columns, bins, run);
                        auto edges = contract_edges<Score>(part.edges, segment_of.data(), run);
                        result = absorb_small(std::move(edges), part.score, std::move(sizes), min_size, run);
                    },
                    "minimum size");
                return to_numpy(std::move(result));
            });
        },
        "columns"_a, "bins"_a, "chosen"_a, "segment_of"_a, "size"_a, "min_size"_a);
    // The region of each fragment after the first `count` merges, numbered in the order of smallest fragments.
    m.def(
        "cut",
        [](Index fragments, List<const Index> a, List<const Index> b, size_t count) {
            std::vector<Index> lut;
            auto cut = [&](const Run& run) {
                Names<Index> names(fragments);
                for (size_t i = 0; i < count; ++i) names.unite(a.data()[i], b.data()[i]);
                lut.assign(size_t(fragments) + 1, 0);
                Index next = 0;
                each_chunk(run, int64_t(fragments), [&](int64_t begin, int64_t end) {
                    for (Index f = Index(begin + 1); f <= Index(end); ++f)
                        lut[f] = names.find(f) == f ? ++next : lut[names.find(f)];
                });
            };
            fragments < 1 << 16 ? cut(Run()) : run_interruptibly(1, cut);
            return to_numpy(std::move(lut));
        },
        "fragments"_a, "a"_a, "b"_a, "count"_a);
}

inline void bind_segmentation(nb::module_& m) {
    // Narrow labels first: Python's type checker takes narrow integers for wide ones, too.
    bind_on_voxels<uint8_t, uint32_t>(m);
    bind_on_voxels<uint16_t, uint32_t>(m);
    bind_on_voxels<uint8_t, uint64_t>(m);
    bind_on_voxels<uint16_t, uint64_t>(m);
    bind_mutex<uint8_t, uint32_t>(m);
    bind_mutex<uint16_t, uint32_t>(m);
    m.def("operations", [] { return operations.load(); });
    m.attr("INDEX_LIMIT") = uint64_t(VoxelForest<uint32_t>::POINTER);
    bind_on_graphs<uint32_t>(m);
    bind_on_graphs<uint64_t>(m);  // labels or face indices that need 64 bits
    // The order of merges given as fractions and keys.
    m.def(
        "merge_order",
        [](List<const uint64_t> total, List<const uint64_t> count, List<const uint64_t> key, uint64_t top,
           int threads) {
            std::vector<Merge<Mean<uint64_t>>> merges(total.size());
            run_interruptibly(threads, [&](const Run& run) {
                for (size_t i = 0; i < merges.size(); ++i)
                    merges[i] = {i, 0, {total.data()[i], count.data()[i], key.data()[i]}};
                merges = sort_merges(std::move(merges), top, run);
            });
            return column<uint64_t>(merges, [](const auto& merge) { return merge.a; });
        },
        "total"_a, "count"_a, "key"_a, "top"_a, "threads"_a);
}

}  // namespace neuropil
