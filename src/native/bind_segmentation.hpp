// Python's view of the segmentation kernels. Arguments are checked in Python; here arrays become pointers.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <string>
#include <tuple>
#include <vector>

#include "agglomerate.hpp"
#include "fill.hpp"
#include "interruptible.hpp"
#include "min_size.hpp"
#include "region_graph.hpp"
#include "watershed.hpp"

namespace neuropil {

namespace nb = nanobind;

template <class T>
using Volume = nb::ndarray<T, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
template <class T>
using List = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using NewList = nb::ndarray<nb::numpy, T, nb::ndim<1>>;

template <class T>
NewList<T> to_numpy(std::vector<T>&& values) {
    auto* kept = new std::vector<T>(std::move(values));
    nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return NewList<T>(kept->data(), {kept->size()}, owner);
}

template <class T, class Items, class Get>
NewList<T> column(const Items& items, Get&& get) {
    std::vector<T> values;
    values.reserve(items.size());
    for (const auto& item : items) values.push_back(T(get(item)));
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

template <class Index>
nb::tuple edge_columns(const std::vector<Edge<Index>>& edges) {
    return nb::make_tuple(column<Index>(edges, [](const auto& e) { return e.a; }),
                          column<Index>(edges, [](const auto& e) { return e.b; }),
                          column<uint64_t>(edges, [](const auto& e) { return e.faces.count; }),
                          column<uint64_t>(edges, [](const auto& e) { return e.faces.sum; }),
                          column<uint64_t>(edges, [](const auto& e) { return e.faces.key; }),
                          column<uint16_t>(edges, [](const auto& e) { return e.faces.max; }),
                          column<uint16_t>(edges, [](const auto& e) { return e.faces.min; }));
}

template <class Index>
std::vector<Edge<Index>> edge_rows(const EdgeColumns<Index>& columns) {
    const auto& [a, b, count, sum, key, max, min] = columns;
    std::vector<Edge<Index>> edges(a.size());
    for (size_t e = 0; e < edges.size(); ++e)
        edges[e] = {a.data()[e],
                    b.data()[e],
                    {sum.data()[e], Index(count.data()[e]), Index(key.data()[e]), max.data()[e], min.data()[e]}};
    return edges;
}

template <class Code, class Index>
void bind_on_voxels(nb::module_& m) {
    m.def("watershed", [](Volume<const Code> z, Volume<const Code> y, Volume<const Code> x, int flipped, int low,
                          int high, Volume<Index> labels, int threads) {
        const auto faces = make_faces<Code>(z, y, x, flipped);
        Index count = 0;
        run_interruptibly(threads, [&](const Run& run) {
            count = Watershed<Code, Index>(faces, Code(low), Code(high), labels.data(), run)();
        });
        return count;
    });
    m.def("region_graph", [](Volume<const Code> z, Volume<const Code> y, Volume<const Code> x, int flipped,
                             Volume<const Index> fragments, List<const uint32_t> value, int threads) {
        const auto faces = make_faces<Code>(z, y, x, flipped);
        std::vector<Edge<Index>> edges;
        run_interruptibly(threads,
                          [&](const Run& run) { edges = region_graph(faces, fragments.data(), value.data(), run); });
        return edge_columns(edges);
    });
    m.def("fill_background",
          [](Volume<const Code> z, Volume<const Code> y, Volume<const Code> x, int flipped, Volume<Index> labels) {
              const auto faces = make_faces<Code>(z, y, x, flipped);
              run_interruptibly(1, [&](const Run& run) { fill_background(faces, labels.data(), run); });
          });
}

template <class Index>
void bind_on_graphs(nb::module_& m) {
    m.def("agglomerate", [](Index fragments, const EdgeColumns<Index>& columns, uint64_t top, double scale) {
        std::vector<Merge<Index>> merges;
        auto edges = edge_rows<Index>(columns);
        run_interruptibly(
            1, [&](const Run& run) { merges = agglomerate<Mean, Index>(fragments, std::move(edges), top, run); });
        return nb::make_tuple(
            column<Index>(merges, [](const auto& merge) { return merge.a; }),
            column<Index>(merges, [](const auto& merge) { return merge.b; }),
            column<double>(merges, [&](const auto& merge) { return Mean::score(merge.faces, scale); }));
    });
    m.def("absorb_small", [](const EdgeColumns<Index>& columns, List<const Index> segment_of, List<const uint64_t> size,
                             uint64_t min_size) {
        std::vector<Index> result;
        auto edges = edge_rows<Index>(columns);
        std::vector<uint64_t> sizes(size.data(), size.data() + size.size());
        run_interruptibly(1, [&](const Run& run) {
            result = absorb_small<Mean, Index>(contract_edges(edges, segment_of.data()), sizes, min_size, run);
        });
        return to_numpy(std::move(result));
    });
    // The region of each fragment after the first `count` merges, numbered in the order of smallest fragments.
    m.def("cut", [](Index fragments, List<const Index> a, List<const Index> b, size_t count) {
        Names<Index> names(fragments);
        for (size_t i = 0; i < count; ++i) names.unite(a.data()[i], b.data()[i]);
        std::vector<Index> lut(size_t(fragments) + 1, 0);
        Index next = 0;
        for (Index f = 1; f <= fragments; ++f) lut[f] = names.find(f) == f ? ++next : lut[names.find(f)];
        return to_numpy(std::move(lut));
    });
}

inline void bind_segmentation(nb::module_& m) {
    bind_on_voxels<uint8_t, uint32_t>(m);
    bind_on_voxels<uint8_t, uint64_t>(m);
    bind_on_voxels<uint16_t, uint32_t>(m);
    bind_on_voxels<uint16_t, uint64_t>(m);
    m.attr("INDEX_LIMIT") = uint64_t(VoxelForest<uint32_t>::POINTER);
    bind_on_graphs<uint32_t>(m);
    nb::module_ wide = m.def_submodule("wide", "The same on graphs whose labels or face indices need 64 bits.");
    bind_on_graphs<uint64_t>(wide);
}

}  // namespace neuropil
