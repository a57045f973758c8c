// Bindings of the kernels that make batches. Shapes and dtypes of labels are checked in Python; here arrays become
// pointers.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <vector>

#include "cross_entropy.hpp"
#include "eight_bits.hpp"
#include "grey_values.hpp"
#include "targets.hpp"

namespace neuropil::batches {

namespace nb = nanobind;
using namespace nb::literals;

template <std::size_t Axes>
using Given = nb::ndarray<nb::ro, nb::ndim<Axes>, nb::device::cpu>;
template <std::size_t Axes>
using Out = nb::ndarray<bool, nb::ndim<Axes>, nb::c_contig, nb::device::cpu>;

template <class T, std::size_t Axes, class Array>
Rows<T, Axes> rows(const Array& array) {
    Rows<T, Axes> found{reinterpret_cast<const T*>(array.data()), {}, {}};
    for (std::size_t axis = 0; axis < Axes; ++axis) {
        found.shape[axis] = int64_t(array.shape(axis));
        found.stride[axis] = array.stride(axis);
    }
    return found;
}

// Calls f with rows of the right integer width, without the GIL. Erosion gets signed integers only, from its wrapper;
// joining takes all integers, because it only compares ids with each other and with 0.
template <std::size_t Axes, class F>
void with_width(const Given<Axes>& array, F&& f) {
    nb::gil_scoped_release unlocked;
    switch (array.itemsize()) {
        case 1:
            return f(rows<int8_t, Axes>(array));
        case 2:
            return f(rows<int16_t, Axes>(array));
        case 4:
            return f(rows<int32_t, Axes>(array));
        default:
            return f(rows<int64_t, Axes>(array));
    }
}

// Logits [batch, channel, voxel] of float, or of bfloat16 as 16 bits.
using Logits = nb::ndarray<nb::ro, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Edges = nb::ndarray<const bool, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
// Weights of positive and of negative edges, for each channel.
using EdgeWeights = nb::ndarray<const float, nb::shape<2, -1>, nb::c_contig, nb::device::cpu>;

// Calls f with the loss of the logits' dtype, without the GIL.
template <class F>
void with_loss(const Logits& logits, const Edges& target, const Edges& valid, const EdgeWeights& weights,
               float smoothing, F&& f) {
    const size_t channels = weights.shape(1);
    std::vector<EdgeCost> costs;
    for (size_t c = 0; c < channels; ++c) costs.push_back({weights.data()[c], weights.data()[channels + c], smoothing});
    auto call = [&]<class Logit>(const Logit* values) {
        nb::gil_scoped_release unlocked;
        f(EdgeLoss<Logit>{values, reinterpret_cast<const uint8_t*>(target.data()),
                          reinterpret_cast<const uint8_t*>(valid.data()), int64_t(logits.shape(0) * channels),
                          int64_t(logits.shape(2)), std::move(costs)});
    };
    if (logits.itemsize() == 2)
        call(static_cast<const Brain*>(logits.data()));
    else
        call(static_cast<const float*>(logits.data()));
}

inline void bind_losses(nb::module_& m) {
    m.def(
        "edge_cost",
        [](const Logits& logits, const Edges& target, const Edges& valid, const EdgeWeights& weights, float smoothing,
           int threads) {
            double total = 0;
            with_loss(logits, target, valid, weights, smoothing,
                      [&](const auto& loss) { total = loss.total(Run{threads}); });
            return total;
        },
        "logits"_a, "target"_a, "valid"_a, "weights"_a, "smoothing"_a, "threads"_a);
    m.def(
        "edge_slopes",
        [](const Logits& logits, const Edges& target, const Edges& valid, const EdgeWeights& weights, float smoothing,
           float factor, const nb::ndarray<nb::ndim<3>, nb::c_contig, nb::device::cpu>& slopes, int threads) {
            with_loss(logits, target, valid, weights, smoothing, [&]<class Logit>(const EdgeLoss<Logit>& loss) {
                loss.slopes(factor, static_cast<Logit*>(slopes.data()), Run{threads});
            });
        },
        "logits"_a, "target"_a, "valid"_a, "weights"_a, "smoothing"_a, "factor"_a, "slopes"_a, "threads"_a);
}

inline void bind_batches(nb::module_& m) {
    bind_losses(m);
    m.def(
        "meetings",
        [](const Given<3>& labels, int64_t steps, const Out<3>& meets, int threads) {
            with_width<3>(labels, [&](const auto& of) { erode(of, steps, meets.data(), Run{threads}); });
        },
        "labels"_a, "steps"_a, "meets"_a, "threads"_a);
    m.def(
        "erode",
        [](const Given<3>& labels, int64_t steps, const nb::ndarray<nb::ndim<3>, nb::c_contig, nb::device::cpu>& eroded,
           int threads) {
            with_width<3>(labels, [&]<class T>(const Rows<T, 3>& of) {
                erode(of, steps, static_cast<T*>(eroded.data()), Run{threads});
            });
        },
        "labels"_a, "steps"_a, "eroded"_a, "threads"_a);
    m.def(
        "join",
        [](const Given<4>& labels, const nb::ndarray<const bool, nb::ndim<4>, nb::device::cpu>& known,
           const std::vector<std::array<int64_t, 3>>& offsets, const Out<5>& joined, const Out<5>& valid, int threads) {
            const auto use = rows<uint8_t, 4>(known);
            auto* values = reinterpret_cast<uint8_t*>(joined.data());
            auto* validity = reinterpret_cast<uint8_t*>(valid.data());
            with_width<4>(labels, [&](const auto& ids) { Join{ids, use, offsets, values, validity}(Run{threads}); });
        },
        "labels"_a, "known"_a.noconvert(), "offsets"_a, "joined"_a, "valid"_a, "threads"_a);
    m.def(
        "look_up",
        [](const nb::ndarray<const uint8_t, nb::ndim<3>, nb::device::cpu>& image,
           const nb::ndarray<const float, nb::shape<-1, 256>, nb::c_contig, nb::device::cpu>& table,
           const nb::ndarray<float, nb::ndim<3>, nb::c_contig, nb::device::cpu>& found, int threads) {
            nb::gil_scoped_release unlocked;
            const std::array<int64_t, 3> shape{int64_t(image.shape(0)), int64_t(image.shape(1)),
                                               int64_t(image.shape(2))};
            const std::array<int64_t, 3> stride{image.stride(0), image.stride(1), image.stride(2)};
            look_up(image.data(), shape, stride, table.data(), found.data(), Run{threads});
        },
        "image"_a, "table"_a, "found"_a, "threads"_a);
    m.def(
        "to_codes",
        [](const nb::ndarray<const uint16_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>& values, bool rectify,
           const nb::ndarray<uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>& codes, int threads) {
            nb::gil_scoped_release unlocked;
            const Steps steps = to_codes(values.data(), int64_t(values.shape(0)), rectify, codes.data(), Run{threads});
            return std::pair(steps.step, steps.zero);
        },
        "values"_a, "rectify"_a, "codes"_a, "threads"_a);
}

}  // namespace neuropil::batches
