// Merging by size and affinity (Zlateski and Seung 2015): edges are visited in order, and unite two regions if one of
// them is still small.
#pragma once
#include <utility>
#include <vector>

#include "agglomerate.hpp"

namespace neuropil {

// `order` is the order of the edges, sizes[r] the voxels of region r, 0 for background. Returns the final region of
// each region, named by the smallest of its regions; 0 if that has fewer voxels than `dust`.
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

// The same with exactly zwatershed's result: edges in the order of the lists, union by rank, and regions numbered in
// the order of their first nodes. As in zwatershed, the count of a region is stored at the index of its number and may
// overwrite that of another root; a region that was too small may then stay when a later node of it is visited. Returns
// the number of each node, 0 if dropped; `sizes` become the counts.
template <class Index>
std::vector<Index> merge_in_order(const Index* a, const Index* b, size_t edges, std::vector<uint64_t>& sizes,
                                  uint64_t size, uint64_t dust, const Run& run) {
    const size_t nodes = sizes.size();
    Names<Index> names{Index(nodes - 1)};
    std::vector<uint8_t> rank(nodes, 0);
    for (size_t i = 0; i < edges; ++i) {
        if (i % 65536 == 0) run.check();
        Index p = names.find(a[i]), q = names.find(b[i]);
        if (p == q || p == 0 || q == 0 || (sizes[p] >= size && sizes[q] >= size)) continue;
        if (rank[p] < rank[q]) std::swap(p, q);
        rank[p] += rank[p] == rank[q];
        names.unite(p, q);
        sizes[p] += sizes[q];
        sizes[q] = 0;
    }
    std::vector<Index> number(nodes, 0);  // of roots, then of all
    Index next = 1;
    for (size_t v = 1; v < nodes; ++v) {
        const Index root = names.find(Index(v));
        if (number[root] || sizes[root] < dust) continue;
        sizes[next] = sizes[root];
        number[root] = next++;
    }
    std::vector<Index> region(nodes, 0);
    for (size_t v = 1; v < nodes; ++v) region[v] = number[names.find(Index(v))];
    sizes.resize(next);
    return region;
}

}  // namespace neuropil
