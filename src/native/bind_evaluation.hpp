// Bindings of the evaluation kernels. Arguments are checked in Python; here arrays become pointers.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/tuple.h>

#include <tuple>
#include <utility>
#include <vector>

#include "contingency.hpp"
#include "interruptible.hpp"
#include "threshold_curve.hpp"
#include "to_numpy.hpp"

namespace neuropil::evaluation {

namespace nb = nanobind;
using namespace nb::literals;

using AnyVolume = nb::ndarray<nb::ro, nb::ndim<3>, nb::device::cpu>;

template <class T>
View3<T> view3(const AnyVolume& array) {
    View3<T> view{static_cast<const T*>(array.data()), {}, {}};
    for (std::size_t axis = 0; axis < 3; ++axis) {
        view.shape[axis] = static_cast<std::int64_t>(array.shape(axis));
        view.stride[axis] = array.stride(axis);
    }
    return view;
}

// Calls f with a view of the right integer width; the Python wrapper passes unsigned integers only.
template <class F>
auto with_width(const AnyVolume& array, F&& f) {
    switch (array.itemsize()) {
        case 1:
            return f(view3<std::uint8_t>(array));
        case 2:
            return f(view3<std::uint16_t>(array));
        case 4:
            return f(view3<std::uint32_t>(array));
        default:
            return f(view3<std::uint64_t>(array));
    }
}

// Columns of the table: truth, segment, voxels.
inline std::tuple<NewList<std::uint64_t>, NewList<std::uint64_t>, NewList<std::uint64_t>> contingency(
    const AnyVolume& truth, const AnyVolume& segment, int threads) {
    std::vector<std::uint64_t> columns[3];
    run_interruptibly(threads, [&](const Run& run) {
        const std::vector<Pair> pairs = with_width(
            truth, [&](auto t) { return with_width(segment, [&](auto s) { return count_pairs(t, s, run); }); });
        for (auto& column : columns) column.reserve(pairs.size());
        for (const Pair& pair : pairs) {
            columns[0].push_back(pair.truth);
            columns[1].push_back(pair.segment);
            columns[2].push_back(pair.count);
        }
    });
    return std::make_tuple(to_numpy(std::move(columns[0])), to_numpy(std::move(columns[1])),
                           to_numpy(std::move(columns[2])));
}

template <class T>
using Column = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

using PointColumns = std::tuple<NewList<std::uint64_t>, NewList<std::uint64_t>, NewList<std::uint64_t>,
                                NewList<std::uint64_t>, NewList<std::uint64_t>, NewList<double>, NewList<double>>;

// One array per number of a point; 128-bit sums as their high and low 64 bits.
inline PointColumns point_columns(const std::vector<CurvePoint>& points) {
    std::vector<std::uint64_t> merges, pairs_high, pairs_low, segments_high, segments_low;
    std::vector<double> pairs_log, segments_log;
    for (const CurvePoint& point : points) {
        merges.push_back(point.merges);
        pairs_high.push_back(static_cast<std::uint64_t>(point.pairs >> 64));
        pairs_low.push_back(static_cast<std::uint64_t>(point.pairs));
        segments_high.push_back(static_cast<std::uint64_t>(point.segments >> 64));
        segments_low.push_back(static_cast<std::uint64_t>(point.segments));
        pairs_log.push_back(point.pairs_log);
        segments_log.push_back(point.segments_log);
    }
    return std::make_tuple(to_numpy(std::move(merges)), to_numpy(std::move(pairs_high)), to_numpy(std::move(pairs_low)),
                           to_numpy(std::move(segments_high)), to_numpy(std::move(segments_low)),
                           to_numpy(std::move(pairs_log)), to_numpy(std::move(segments_log)));
}

using Cells = std::tuple<Column<std::uint32_t>, Column<std::uint64_t>, Column<std::uint64_t>>;
using Merges = std::tuple<Column<std::uint64_t>, Column<std::uint64_t>, Column<double>>;

// `cells` are (truth index, fragment, voxels), `merges` (fragment, fragment, score).
inline PointColumns threshold_curve(std::size_t fragments, const Cells& cells, const Merges& merges) {
    std::vector<CurvePoint> points;
    run_interruptibly(1, [&](const Run& run) {
        const auto& [truth, fragment, count] = cells;
        const auto& [a, b, score] = merges;
        CutSums sums(fragments);
        for (std::size_t i = 0; i < count.size(); ++i)
            sums.add_cell(truth.data()[i], fragment.data()[i], count.data()[i]);
        points = neuropil::threshold_curve(sums, a.data(), b.data(), score.data(), score.size(), run);
    });
    return point_columns(points);
}

inline void bind_evaluation(nb::module_& m) {
    m.def("contingency", &contingency, "truth"_a.noconvert(), "segment"_a.noconvert(), "threads"_a);
    m.def("threshold_curve", &threshold_curve, "fragments"_a, "cells"_a, "merges"_a);
}

}  // namespace neuropil::evaluation
