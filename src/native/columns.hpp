// Arrays of NumPy, and the edges, histograms and merges of the kernels as columns of such arrays, one per field.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "agglomerate.hpp"
#include "faces.hpp"
#include "interruptible.hpp"
#include "region_graph.hpp"
#include "scores.hpp"
#include "to_numpy.hpp"

namespace neuropil {

namespace nb = nanobind;
using namespace nb::literals;

template <class T>
using Volume = nb::ndarray<T, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
template <class T>
using List = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// One value of every item, as an array. Long lists are processed without the GIL.
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

// The same as results; Python's type checker reads these types.
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
    if (name != "quantile") throw std::invalid_argument("expected mean, max, min or quantile, got " + name);
    return use(Quantile<Index>(percent, code_bits));
}

template <class Score>
NewMerges<typename Score::Index> merge_columns(const std::vector<Merge<Score>>& merges, double scale) {
    using Index = typename Score::Index;
    return std::make_tuple(column<Index>(merges, [](const auto& merge) { return merge.a; }),
                           column<Index>(merges, [](const auto& merge) { return merge.b; }),
                           column<double>(merges, [&](const auto& merge) { return Score::value(merge.stats, scale); }));
}

}  // namespace neuropil
