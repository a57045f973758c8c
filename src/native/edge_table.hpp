// Finding things by their names: open-addressing tables that grow.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace neuropil {

inline uint64_t mix(uint64_t a, uint64_t b) {
    uint64_t h = (a * 0x9e3779b97f4a7c15ull) ^ (b * 0xc2b2ae3d27d4eb4full);
    h ^= h >> 29;
    h *= 0xbf58476d1ce4e5b9ull;
    return h ^ (h >> 32);
}

// Edges by their two ends; new ones are made when asked for.
template <class Edge, class Index>
class EdgeTable {
  public:
    explicit EdgeTable(size_t slots = 1024) : slots_(slots, EMPTY) {}

    // The position of this edge in edges().
    size_t operator()(Index a, Index b) {
        if (a > b) std::swap(a, b);
        size_t slot = mix(a, b) & (slots_.size() - 1);
        for (; slots_[slot] != EMPTY; slot = (slot + 1) & (slots_.size() - 1)) {
            const Edge& edge = edges_[slots_[slot]];
            if (edge.a == a && edge.b == b) return slots_[slot];
        }
        slots_[slot] = Index(edges_.size());
        edges_.push_back({a, b, {}});
        if (edges_.size() * 2 > slots_.size()) grow();
        return edges_.size() - 1;
    }

    std::vector<Edge>& edges() { return edges_; }

  private:
    static constexpr Index EMPTY = Index(-1);

    void grow() {
        slots_.assign(slots_.size() * 2, EMPTY);
        for (size_t i = 0; i < edges_.size(); ++i) {
            size_t slot = mix(edges_[i].a, edges_[i].b) & (slots_.size() - 1);
            while (slots_[slot] != EMPTY) slot = (slot + 1) & (slots_.size() - 1);
            slots_[slot] = Index(i);
        }
    }

    std::vector<Index> slots_;
    std::vector<Edge> edges_;
};

// Names as consecutive numbers, in the order in which they are first asked for.
template <class Index>
class NameTable {
  public:
    explicit NameTable(size_t expected = 0) {
        size_t slots = 1024;
        while (slots < 2 * expected) slots *= 2;
        slots_.assign(slots, EMPTY);
    }

    Index add(Index name) {
        size_t slot = place(name);
        if (slots_[slot] != EMPTY) return slots_[slot];
        slots_[slot] = Index(names_.size());
        names_.push_back(name);
        if (names_.size() * 2 > slots_.size()) grow();
        return Index(names_.size() - 1);
    }

    // The number of a name, or the largest Index where it has none.
    Index find(Index name) const { return slots_[place(name)]; }

    std::vector<Index>& names() { return names_; }

    static constexpr Index EMPTY = Index(-1);

  private:
    size_t place(Index name) const {
        size_t slot = mix(name, 0) & (slots_.size() - 1);
        while (slots_[slot] != EMPTY && names_[slots_[slot]] != name) slot = (slot + 1) & (slots_.size() - 1);
        return slot;
    }

    void grow() {
        slots_.assign(slots_.size() * 2, EMPTY);
        for (size_t i = 0; i < names_.size(); ++i) slots_[place(names_[i])] = Index(i);
    }

    std::vector<Index> slots_, names_;
};

}  // namespace neuropil
