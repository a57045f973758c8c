// Edges of one list, sorted by the piece of a graph that they belong to.
#pragma once
#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "operations.hpp"

namespace neuropil {

// Those of one piece.
struct PieceEdges {
    uint32_t piece, begin, end;
};

// Those of one piece in one of several lists.
struct EdgeRange {
    uint32_t part, begin, end;
};

// Sorts the edges from `first` on by piece(edge), and says where those of each piece lie. Pieces without any are left
// out: all lists of a graph together take time for their edges alone, not for lists times pieces.
template <class Edge, class Piece>
std::vector<PieceEdges> sort_by_piece(std::vector<Edge>& edges, uint32_t first, size_t pieces, Piece&& piece) {
    std::vector<PieceEdges> found;
    const size_t count = edges.size() - first;
    Operations steps;
    steps += count;
    if (4 * count < pieces) {
        std::sort(edges.begin() + first, edges.end(),
                  [&](const auto& e, const auto& f) { return piece(e) < piece(f); });
        for (uint32_t begin = first, e = first; e < edges.size(); begin = e) {
            while (e < edges.size() && piece(edges[e]) == piece(edges[begin])) ++e;
            found.push_back({piece(edges[begin]), begin, e});
        }
        return found;
    }
    steps += pieces;
    const std::vector<Edge> unsorted(edges.begin() + first, edges.end());
    std::vector<uint32_t> next(pieces + 1, 0);
    for (const auto& edge : unsorted) ++next[piece(edge)];
    uint32_t before = first;
    for (auto& size : next) before += std::exchange(size, before);
    for (uint32_t p = 0; p < pieces; ++p)
        if (next[p] < next[p + 1]) found.push_back({p, next[p], next[p + 1]});
    for (const auto& edge : unsorted) edges[next[piece(edge)]++] = edge;
    return found;
}

}  // namespace neuropil
