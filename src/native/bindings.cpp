// The one place where Python meets the kernels: converts arrays, releases the lock, calls a header.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <utility>
#include <vector>

#include "contingency.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using AnyVolume = nb::ndarray<nb::ro, nb::ndim<3>, nb::device::cpu>;

// Hands a vector to NumPy without copying it.
template <class T>
nb::ndarray<nb::numpy, T, nb::ndim<1>> to_numpy(std::vector<T>&& values) {
    auto* owned = new std::vector<T>(std::move(values));
    nb::capsule owner(owned, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return nb::ndarray<nb::numpy, T, nb::ndim<1>>(owned->data(), {owned->size()}, owner);
}

template <class T>
neuropil::View3<T> view3(const AnyVolume& array) {
    neuropil::View3<T> view{static_cast<const T*>(array.data()), {}, {}};
    for (std::size_t axis = 0; axis < 3; ++axis) {
        view.shape[axis] = static_cast<std::int64_t>(array.shape(axis));
        view.stride[axis] = array.stride(axis);
    }
    return view;
}

// Calls f with a view of the right width; the wrapper hands over unsigned integers only.
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

nb::tuple contingency(const AnyVolume& truth, const AnyVolume& segment, int threads) {
    std::vector<std::uint64_t> columns[3];
    {
        nb::gil_scoped_release unlocked;
        const std::vector<neuropil::Pair> pairs = with_width(truth, [&](auto t) {
            return with_width(segment, [&](auto s) { return neuropil::count_pairs(t, s, threads); });
        });
        for (auto& column : columns) column.reserve(pairs.size());
        for (const neuropil::Pair& pair : pairs) {
            columns[0].push_back(pair.truth);
            columns[1].push_back(pair.segment);
            columns[2].push_back(pair.count);
        }
    }
    return nb::make_tuple(to_numpy(std::move(columns[0])), to_numpy(std::move(columns[1])),
                          to_numpy(std::move(columns[2])));
}

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "Native kernels of neuropil.";
    m.def("contingency", &contingency, "truth"_a.noconvert(), "segment"_a.noconvert(), "threads"_a);
}
