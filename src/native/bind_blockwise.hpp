// Bindings of the kernels for blocks of a volume.
#pragma once
#include "columns.hpp"
#include "merge_blocks.hpp"
#include "shared_forest.hpp"
#include "watershed.hpp"

namespace neuropil {

// The columns of a summary from the stats of one score; statistics that the score does not have are 0.
template <class I>
typename Summary<I>::Stats summary_of(const typename Mean<I>::Stats& stats) {
    return {stats.sum, stats.count, stats.key, 0, 0};
}

template <class I>
typename Summary<I>::Stats summary_of(const typename Extreme<I, true>::Stats& stats) {
    return {0, 0, stats.key, stats.code, stats.code};
}

template <class I>
typename Summary<I>::Stats summary_of(const typename Quantile<I>::Stats& stats) {
    return {0, stats.count, stats.key, 0, 0};
}

inline NewBins no_bins() {
    return std::make_tuple(to_numpy(std::vector<uint64_t>()), to_numpy(std::vector<uint16_t>()),
                           to_numpy(std::vector<uint64_t>()));
}

template <class Score>
constexpr bool HAS_BINS = std::is_same_v<Score, Quantile<typename Score::Index>>;

template <class Index>
using NewPart = std::tuple<NewMerges<Index>, NewEdges<Index>, NewBins, NewList<uint8_t>>;

// Merges, the remaining edges with their histograms, and which regions are deferred, as columns. Merges and edges are
// freed as their columns are made.
template <class Score>
NewPart<typename Score::Index> part_columns(std::vector<Merge<Score>>&& merges, Part<Score>&& rest,
                                            std::vector<uint8_t>&& blocked, double scale) {
    using Index = typename Score::Index;
    auto merged = merge_columns(merges, scale);
    std::vector<Merge<Score>>().swap(merges);
    auto bins = no_bins();
    if constexpr (HAS_BINS<Score>) bins = bin_columns(rest.edges, rest.score);
    std::vector<Edge<Summary<Index>>> edges;
    edges.reserve(rest.edges.size());
    for (const auto& edge : rest.edges) {
        if constexpr (std::is_same_v<typename Score::Stats, typename Extreme<Index, false>::Stats>)
            edges.push_back({edge.a, edge.b, {0, 0, edge.stats.key, edge.stats.code, edge.stats.code}});
        else
            edges.push_back({edge.a, edge.b, summary_of<Index>(edge.stats)});
    }
    return std::make_tuple(merged, edge_columns(edges), bins, to_numpy(std::move(blocked)));
}

// Edges begin … end of columns.
template <class Score>
Part<Score> part_of_columns(const Score& score, const EdgeColumns<uint64_t>& columns, const BinColumns& bins,
                            size_t begin, size_t end) {
    Part<Score> part{score, {}};
    part.edges.resize(end - begin);
    for (size_t e = begin; e < end; ++e) {
        auto& edge = part.edges[e - begin];
        edge.a = std::get<0>(columns).data()[e], edge.b = std::get<1>(columns).data()[e];
        set_stats(part.score, edge.stats, columns, bins, e);
    }
    return part;
}

// Merges in a graph of regions 0 … frozen.size() - 1, some of which are deferred. The list of columns is emptied as
// soon as the edges are read, so that their memory is free before merging allocates its own.
template <class Score>
NewPart<uint64_t> merged_columns(Score score, nb::list columns, const BinColumns& bins, List<const uint8_t> frozen,
                                 uint64_t top, const Reaches<Score>& enough, int threads) {
    constexpr size_t CHUNK = 1 << 18, GRAIN = 10'000;
    std::vector<Part<Score>> parts;
    {
        const auto typed = nb::cast<EdgeColumns<uint64_t>>(nb::tuple(columns));
        const size_t count = std::get<0>(typed).size();
        run_interruptibly(threads, [&](const Run& run) {
            parts.resize((count + CHUNK - 1) / CHUNK, Part<Score>{score, {}});
            parallel_for(run, int64_t(parts.size()), [&](int64_t i) {
                run.check();
                const size_t begin = size_t(i) * CHUNK;
                parts[i] = part_of_columns(score, typed, bins, begin, std::min(count, begin + CHUNK));
            });
        });
    }
    columns.clear();
    std::vector<Merge<Score>> merges;
    Part<Score> rest{score, {}};
    std::vector<uint8_t> blocked(frozen.data(), frozen.data() + frozen.size());
    run_interruptibly(threads, [&](const Run& run) {
        const uint64_t last = std::max<uint64_t>(frozen.size(), 1) - 1;
        BandMerger<Score> merger(std::move(parts), last, top, score, GRAIN, run);
        rest = merger.part(blocked, enough, merges);
    });
    return part_columns(std::move(merges), std::move(rest), std::move(blocked), enough.scale);
}

template <class Code>
void bind_on_blocks(nb::module_& m) {
    using Channel = Volume<const Code>;
    using Triple = std::array<int64_t, 3>;
    using Corner = std::tuple<int64_t, int64_t, int64_t>;
    auto triple = [](const Corner& c) { return Triple{std::get<0>(c), std::get<1>(c), std::get<2>(c)}; };
    m.def(
        "block_watershed",
        [triple](Channel z, Channel y, Channel x, int flipped, Corner start, Corner stop, int low, int high,
                 Volume<uint32_t> labels, Volume<uint8_t> asks, int threads) {
            const auto faces = make_faces<Code>(z, y, x, flipped);
            std::vector<uint32_t> first;
            run_interruptibly(threads, [&](const Run& run) {
                const Box box{triple(start), triple(stop)};
                Watershed<Code, uint32_t>(faces, box, Code(low), Code(high), labels.data(), asks.data(), run)(&first);
            });
            return to_numpy(std::move(first));
        },
        "z"_a, "y"_a, "x"_a, "flipped"_a, "start"_a, "stop"_a, "low"_a, "high"_a, "labels"_a, "asks"_a, "threads"_a);
    m.def(
        "merge_block",
        [triple](Channel z, Channel y, Channel x, int flipped, Volume<const uint32_t> fragments,
                 List<const uint8_t> frozen, List<const uint32_t> value, ScoreTuple chosen, Corner block, double stop,
                 double scale, int threads) {
            const AnyFaces faces = make_faces<Code>(z, y, x, flipped);
            return with_score<uint32_t>(chosen, [&](auto score) {
                using Score = decltype(score);
                const uint64_t top =
                    std::is_same_v<Score, Mean<uint32_t>> ? value.data()[value.size() - 1] : value.size() - 1;
                std::vector<Merge<Score>> merges;
                Part<Score> rest{score, {}};
                std::vector<uint8_t> blocked(frozen.data(), frozen.data() + frozen.size());
                run_interruptibly(threads, [&](const Run& run) {
                    BlockMerger<Score> merger(faces, fragments.data(), uint32_t(frozen.size() - 1), value.data(), top,
                                              score, triple(block), run);
                    rest = merger.part(blocked, {stop, scale}, merges);
                });
                return part_columns(std::move(merges), std::move(rest), std::move(blocked), scale);
            });
        },
        "z"_a, "y"_a, "x"_a, "flipped"_a, "fragments"_a, "frozen"_a, "value"_a, "chosen"_a, "block"_a, "stop"_a,
        "scale"_a, "threads"_a);
    // The faces of a block; histograms of their codes where asked for.
    m.def(
        "part_graph",
        [triple](Channel z, Channel y, Channel x, int flipped, Volume<const uint64_t> fragments,
                 List<const uint32_t> value, Corner start, Corner stop, bool histograms) {
            const AnyFaces faces = make_faces<Code>(z, y, x, flipped);
            const Box box{triple(start), triple(stop)};
            std::vector<Edge<Summary<uint64_t>>> edges;
            Quantile<uint64_t> quantile(50, 8 * sizeof(Code));
            std::vector<Edge<Quantile<uint64_t>>> counted;
            run_interruptibly(1, [&](const Run& run) {
                Summary<uint64_t> score;
                edges = part_graph(faces, fragments.data(), value.data(), box, score, run);
                if (histograms) counted = part_graph(faces, fragments.data(), value.data(), box, quantile, run);
            });
            return std::make_tuple(edge_columns(edges), histograms ? bin_columns(counted, quantile) : no_bins());
        },
        "z"_a, "y"_a, "x"_a, "flipped"_a, "fragments"_a, "value"_a, "start"_a, "stop"_a, "histograms"_a);
}

inline void bind_blockwise(nb::module_& m) {
    bind_on_blocks<uint8_t>(m);
    bind_on_blocks<uint16_t>(m);
    m.def(
        "merge_frozen",
        [](nb::typed<nb::list, nb::any> columns, const BinColumns& bins, List<const uint8_t> frozen, ScoreTuple chosen,
           uint64_t top, double stop, double scale, int threads) {
            return with_score<uint64_t>(chosen, [&](auto score) {
                return merged_columns(score, columns, bins, frozen, top, Reaches<decltype(score)>{stop, scale},
                                      threads);
            });
        },
        "columns"_a, "bins"_a, "frozen"_a, "chosen"_a, "top"_a, "stop"_a, "scale"_a, "threads"_a);
    m.def(
        "unite",
        [](uint64_t n, List<const uint64_t> a, List<const uint64_t> b) {
            return to_numpy(unite(n, a.data(), b.data(), a.size()));
        },
        "n"_a, "a"_a, "b"_a);
}

}  // namespace neuropil
