// Bindings of the kernels for proofreading. Arguments are checked in Python.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/tuple.h>

#include "columns.hpp"
#include "edited_cut.hpp"
#include "to_numpy.hpp"

namespace neuropil {

inline void bind_edited_cut(nb::module_& m) {
    m.def(
        "tree_intervals",
        [](int64_t fragments, const List<const int64_t>& a, const List<const int64_t>& b) {
            TreeIntervals found;
            {
                nb::gil_scoped_release release;
                found = tree_intervals(fragments, a.data(), b.data(), int64_t(a.shape(0)));
            }
            return std::make_tuple(to_numpy(std::move(found.leaf)), to_numpy(std::move(found.start)),
                                   to_numpy(std::move(found.middle)), to_numpy(std::move(found.end)));
        },
        "fragments"_a, "a"_a, "b"_a);
    m.def(
        "largest_between",
        [](const List<const int64_t>& gap, const List<const int64_t>& p, const List<const int64_t>& q) {
            std::vector<int64_t> found;
            {
                nb::gil_scoped_release release;
                found = largest_between(gap.data(), int64_t(gap.shape(0)), p.data(), q.data(), int64_t(p.shape(0)));
            }
            return to_numpy(std::move(found));
        },
        "gap"_a, "p"_a, "q"_a);
    m.def(
        "minimum_cut",
        [](int64_t nodes, const List<const int64_t>& u, const List<const int64_t>& v,
           const List<const int64_t>& capacity, int64_t source, int64_t sink) {
            std::vector<uint8_t> side;
            {
                nb::gil_scoped_release release;
                side = MinimumCut(nodes, u.data(), v.data(), capacity.data(), int64_t(u.shape(0))).side(source, sink);
            }
            return to_numpy(std::move(side));
        },
        "nodes"_a, "u"_a, "v"_a, "capacity"_a, "source"_a, "sink"_a);
}

}  // namespace neuropil
