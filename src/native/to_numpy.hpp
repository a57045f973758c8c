// Results as NumPy arrays.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <utility>
#include <vector>

namespace neuropil {

template <class T>
using NewList = nanobind::ndarray<nanobind::numpy, T, nanobind::ndim<1>>;

// Hands a vector to NumPy without copying it.
template <class T>
NewList<T> to_numpy(std::vector<T>&& values) {
    auto* kept = new std::vector<T>(std::move(values));
    nanobind::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return NewList<T>(kept->data(), {kept->size()}, owner);
}

}  // namespace neuropil
