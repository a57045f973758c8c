// Merging by size and affinity (Zlateski and Seung 2015): down the list of edges, two regions unite while one of them
// is still small.
#pragma once
#include <vector>

#include "agglomerate.hpp"

namespace neuropil {

// Edges in the order in which they come. sizes[r] is that of region r, 0 for background. Returns the region of each
// region, named by its smallest; 0 where that is smaller than `dust`.
template <class Index>
std::vector<Index> merge_by_size(const Index* a, const Index* b, const uint64_t* order, size_t edges,
                                 std::vector<uint64_t> sizes, uint64_t size, uint64_t dust, const Run& run) {
    const Index nodes = Index(sizes.size() - 1);
    Names<Index> names(nodes);
    for (size_t i = 0; i < edges; ++i) {
        if (i % 65536 == 0) run.check();
        const Index p = names.find(a[order[i]]), q = names.find(b[order[i]]);
        if (p == q || (sizes[p] >= size && sizes[q] >= size)) continue;
        names.unite(std::min(p, q), std::max(p, q));
        sizes[std::min(p, q)] += sizes[std::max(p, q)];
    }
    std::vector<Index> region(size_t(nodes) + 1, 0);
    for (Index f = 1; f <= nodes; ++f) {
        const Index name = names.find(f);
        region[f] = sizes[name] < dust ? 0 : name;
    }
    return region;
}

}  // namespace neuropil
