// Python's view of the segmentation kernels. Arguments are checked in Python; here arrays become pointers.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "agglomerate.hpp"
#include "fill.hpp"
#include "interruptible.hpp"
#include "merge_blocks.hpp"
#include "min_size.hpp"
#include "mutex_watershed.hpp"
#include "region_graph.hpp"
#include "to_numpy.hpp"
#include "watershed.hpp"

namespace neuropil {

namespace nb = nanobind;
using namespace nb::literals;

template <class T>
using Volume = nb::ndarray<T, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
template <class T>
using List = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// One value of every item. Long lists are gone through without the interpreter's lock.
template <class T, class Items, class Get>
NewList<T> column(const Items& items, Get&& get) {
    std::vector<T> values;
    auto fill = [&](const Run& run) {
        values.resize(items.size());
        each_chunk(run, int64_t(items.size()), [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i) values[i] = T(get(items[i]));
        });
    };
    items.size() < 1 << 16 ? fill(Run()) : run_interruptibly(1, fill);
    return to_numpy(std::move(values));
}

// The three nearest channels, z y x; `flipped` has bit 1 << axis where the offset is +1.
template <class Code>
Faces<Code> make_faces(const Volume<const Code>& z, const Volume<const Code>& y, const Volume<const Code>& x,
                       int flipped) {
    Faces<Code> faces;
    faces.shape = {int64_t(z.shape(0)), int64_t(z.shape(1)), int64_t(z.shape(2))};
    faces.codes = {z.data(), y.data(), x.data()};
    for (int axis : {Z, Y, X}) faces.shift[axis] = flipped >> axis & 1 ? faces.shape.strides()[axis] : 0;
    return faces;
}

template <class Index>
using EdgeColumns = std::tuple<List<const Index>, List<const Index>, List<const uint64_t>, List<const uint64_t>,
                               List<const uint64_t>, List<const uint16_t>, List<const uint16_t>>;

// Histograms of edges: where the bins of each begin, and every bin's code and count.
using BinColumns = std::tuple<List<const uint64_t>, List<const uint16_t>, List<const uint64_t>>;

// The same made here. Python's type checker reads these types.
template <class Index>
using NewEdges = std::tuple<NewList<Index>, NewList<Index>, NewList<uint64_t>, NewList<uint64_t>, NewList<uint64_t>,
                            NewList<uint16_t>, NewList<uint16_t>>;
using NewBins = std::tuple<NewList<uint64_t>, NewList<uint16_t>, NewList<uint64_t>>;

// Merges, best first: two regions and the score.
template <class Index>
using NewMerges = std::tuple<NewList<Index>, NewList<Index>, NewList<double>>;

template <class Index>
NewEdges<Index> edge_columns(const std::vector<Edge<Summary<Index>>>& edges) {
    return std::make_tuple(column<Index>(edges, [](const auto& e) { return e.a; }),
                           column<Index>(edges, [](const auto& e) { return e.b; }),
                           column<uint64_t>(edges, [](const auto& e) { return e.stats.count; }),
                           column<uint64_t>(edges, [](const auto& e) { return e.stats.sum; }),
                           column<uint64_t>(edges, [](const auto& e) { return e.stats.key; }),
                           column<uint16_t>(edges, [](const auto& e) { return e.stats.max; }),
                           column<uint16_t>(edges, [](const auto& e) { return e.stats.min; }));
}

template <class Index>
NewBins bin_columns(const std::vector<Edge<Quantile<Index>>>& edges, const Quantile<Index>& score) {
    std::vector<uint64_t> start{0}, count;
    std::vector<uint16_t> code;
    auto fill = [&](const Run& run) {
        each_chunk(run, int64_t(edges.size()), [&](int64_t begin, int64_t end) {
            for (int64_t e = begin; e < end; ++e) {
                score.each_bin(edges[e].stats, [&](uint16_t bin, uint64_t faces) {
                    if (code.size() == start.back() || code.back() != bin) code.push_back(bin), count.push_back(0);
                    count.back() += faces;
                });
                start.push_back(code.size());
            }
        });
    };
    edges.size() < 1 << 16 ? fill(Run()) : run_interruptibly(1, fill);
    return std::make_tuple(to_numpy(std::move(start)), to_numpy(std::move(code)), to_numpy(std::move(count)));
}

// Stats of one score from the columns of a summary.
template <class Index>
void set_stats(Mean<Index>&, typename Mean<Index>::Stats& stats, const EdgeColumns<Index>& edges, const BinColumns&,
               size_t e) {
    stats = {std::get<3>(edges).data()[e], Index(std::get<2>(edges).data()[e]), Index(std::get<4>(edges).data()[e])};
}

template <class Index, bool LARGEST>
void set_stats(Extreme<Index, LARGEST>&, typename Extreme<Index, LARGEST>::Stats& stats,
               const EdgeColumns<Index>& edges, const BinColumns&, size_t e) {
    stats = {Index(std::get<4>(edges).data()[e]), std::get<LARGEST ? 5 : 6>(edges).data()[e]};
}

template <class Index>
void set_stats(Quantile<Index>& score, typename Quantile<Index>::Stats& stats, const EdgeColumns<Index>& edges,
               const BinColumns& bins, size_t e) {
    const auto& [start, code, count] = bins;
    const uint64_t begin = start.data()[e];
    stats.count = Index(std::get<2>(edges).data()[e]);
    stats.key = Index(std::get<4>(edges).data()[e]);
    score.fill(stats, code.data() + begin, count.data() + begin, start.data()[e + 1] - begin);
}

template <class Score>
Part<Score> make_part(Score score, const EdgeColumns<typename Score::Index>& columns, const BinColumns& bins,
                      const Run& run) {
    Part<Score> part{std::move(score), {}};
    part.edges.resize(std::get<0>(columns).size());
    for (size_t e = 0; e < part.edges.size(); ++e) {
        if (e % 65536 == 0) run.check();
        part.edges[e].a = std::get<0>(columns).data()[e];
        part.edges[e].b = std::get<1>(columns).data()[e];
        set_stats(part.score, part.edges[e].stats, columns, bins, e);
    }
    return part;
}

// A score as Python names it: mean, max, min, or quantile; its percentage; how many bits a code has.
using ScoreTuple = std::tuple<std::string, int, int>;

template <class Index, class Use>
auto with_score(const ScoreTuple& chosen, Use&& use) {
    const auto& [name, percent, code_bits] = chosen;
    if (name == "mean") return use(Mean<Index>());
    if (name == "max") return use(Extreme<Index, true>());
    if (name == "min") return use(Extreme<Index, false>());
    return use(Quantile<Index>(percent, code_bits));
}

template <class Score>
NewMerges<typename Score::Index> merge_columns(const std::vector<Merge<Score>>& merges, double scale) {
    using Index = typename Score::Index;
    return std::make_tuple(column<Index>(merges, [](const auto& merge) { return merge.a; }),
                           column<Index>(merges, [](const auto& merge) { return merge.b; }),
                           column<double>(merges, [&](const auto& merge) { return Score::value(merge.stats, scale); }));
}

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
