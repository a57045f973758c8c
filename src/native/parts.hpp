// What a volume that is worked on in blocks needs beyond the kernels of a whole one: the graph of one block, merges of
// many parts in one order, and names that turn out to be one.
#pragma once
#include <algorithm>
#include <utility>
#include <vector>

#include "agglomerate.hpp"
#include "region_graph.hpp"

namespace neuropil {

// The faces whose upper voxel lies in the box, pooled; edges ordered by (a, b). Arrays hold the box and the voxels
// around it that they know; keys count in them.
template <class Score>
std::vector<Edge<Score>> part_graph(const AnyFaces& faces, const typename Score::Index* fragments,
                                    const uint32_t* value, const Box& box, Score& score, const Run& run) {
    using Index = typename Score::Index;
    EdgeTable<Edge<Score>, Index> table;
    scan_faces(faces, fragments, faces.shape.strides(), {0, 0, 0}, value, box, score, table, run);
    score.finish(table.edges());
    auto& edges = table.edges();
    sort_checked(run, edges.begin(), edges.end(),
                 [](const auto& e, const auto& f) { return e.a != f.a ? e.a < f.a : e.b < f.b; });
    return std::move(edges);
}

// Pairs of names that are one: every name that occurs, ascending, and the smallest name it is one with.
template <class Name>
std::pair<std::vector<Name>, std::vector<Name>> unite_names(const Name* a, const Name* b, size_t pairs) {
    NameTable<Name> table(pairs);
    for (size_t i = 0; i < pairs; ++i) table.add(a[i]), table.add(b[i]);
    std::vector<Name> names = table.names();
    std::sort(names.begin(), names.end());
    NameTable<Name> sorted(names.size());
    for (const Name name : names) sorted.add(name);
    Names<uint32_t> groups(uint32_t(names.size()));
    for (size_t i = 0; i < pairs; ++i) {
        const auto [small, large] = std::minmax({groups.find(sorted.find(a[i])), groups.find(sorted.find(b[i]))});
        groups.unite(small, large);
    }
    std::vector<Name> smallest(names.size());
    for (size_t i = 0; i < names.size(); ++i) smallest[i] = names[groups.find(uint32_t(i))];
    return {std::move(names), std::move(smallest)};
}

}  // namespace neuropil
