// Hash tables of edges and names (open addressing).
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

#include "operations.hpp"

namespace neuropil {

inline uint64_t mix(uint64_t a, uint64_t b) {
    uint64_t h = (a * 0x9e3779b97f4a7c15ull) ^ (b * 0xc2b2ae3d27d4eb4full);
    h ^= h >> 29;
    h *= 0xbf58476d1ce4e5b9ull;
    return h ^ (h >> 32);
}

// Positions of edges in a list, by their two nodes a < b. A slot holds a position and a few hash bits of the pair, so
// that the list itself is rarely read for a wrong edge. The first OWN slots of an edge may be reserved for a, so that a
// walk over regions in order stays in the cache. Renamed or dead edges stay until the next rebuild; they match nothing,
// since names are compared. A pair has one slot, which a new edge of the pair takes over; otherwise repeated pooling of
// two regions would leave a run of dead slots for every look-up.
template <uint64_t OWN>
class PairIndex {
  public:
    static constexpr uint32_t NONE = uint32_t(-1);

    explicit PairIndex(size_t expected = 0) { clear(expected); }

    void clear(size_t expected) {
        size_t slots = 1024;
        while (slots < 2 * expected) slots *= 2;
        slots_.assign(slots, EMPTY);
        used_ = 0;
    }

    // Whether one more fits without a rebuild. Positions must be smaller than the capacity.
    bool has_room() const { return used_ * 2 < slots_.size(); }
    size_t capacity() const { return slots_.size() / 2; }

    // The slot of this pair's edge, or the slot for inserting it. Valid until the next insertion.
    template <class Edges, class Name>
    size_t slot(const Edges& edges, Name a, Name b) const {
        const uint32_t bits = position_bits(), marked = mark(a, b) & ~bits;
        return place(a, b, [&](uint32_t slot) {
            const uint32_t e = slot & bits;
            return (slot & ~bits) == marked && edges[e].a == a && edges[e].b == b;
        });
    }

    // The edge in a slot, or NONE.
    uint32_t at(size_t slot) const { return slots_[slot] == EMPTY ? NONE : slots_[slot] & position_bits(); }

    // Enters the edge of a pair into the slot of this pair.
    template <class Name>
    void enter(size_t slot, Name a, Name b, uint32_t e) {
        used_ += slots_[slot] == EMPTY;
        slots_[slot] = (mark(a, b) & ~position_bits()) | e;
    }

    // Prefetches the memory that slot(edges, a, b) reads first.
    template <class Name>
    void prefetch(Name a, Name b) const {
        __builtin_prefetch(&slots_[(OWN ? OWN * a : mix(a, b)) & (slots_.size() - 1)]);
    }

    // Enters an edge of a pair that has none.
    template <class Name>
    void insert(Name a, Name b, uint32_t e) {
        enter(place(a, b, [](uint32_t) { return false; }), a, b, e);
    }

  private:
    static constexpr uint32_t EMPTY = uint32_t(-1);

    static uint32_t mark(uint64_t a, uint64_t b) { return uint32_t(0x9e3779b1 * a + 0x85ebca6b * b); }

    // Positions are smaller than the capacity, so that none has all these bits set.
    uint32_t position_bits() const { return uint32_t(std::min<size_t>(slots_.size() - 1, EMPTY)); }

    // The first slot of a pair that is empty or wanted: among those of a, then anywhere.
    template <class Wanted>
    size_t place(uint64_t a, uint64_t b, Wanted&& wanted) const {
        const size_t mask = slots_.size() - 1;
        for (uint64_t i = 0; i < OWN; ++i) {
            const size_t at = (OWN * a + (b + i) % OWN) & mask;
            steps_ += 1;
            if (slots_[at] == EMPTY || wanted(slots_[at])) return at;
        }
        // If all regions fill their own slots, these form one long run, so the search continues elsewhere.
        constexpr int NEAR = 16;
        const uint64_t hash = mix(a, b);
        size_t at = hash & mask, step = 1;
        int tries = 1;
        for (; slots_[at] != EMPTY && !wanted(slots_[at]); ++tries) {
            if (tries == NEAR) step = (hash >> 32) | 1;
            at = (at + step) & mask;
        }
        steps_ += tries;
        return at;
    }

    std::vector<uint32_t> slots_;
    size_t used_ = 0;
    mutable Operations steps_;
};

// Edges by their two ends; new ones are made when asked for.
template <class Edge, class Name>
class EdgeTable {
  public:
    EdgeTable() = default;
    explicit EdgeTable(size_t expected) : index_(expected) { edges_.reserve(expected); }

    // The position of this edge in edges().
    uint32_t operator()(Name a, Name b) {
        if (a > b) std::swap(a, b);
        size_t slot = index_.slot(edges_, a, b);
        if (index_.at(slot) != NONE) return index_.at(slot);
        if (edges_.size() >= NONE) throw std::length_error("more than 2^32 - 1 edges in one table");
        if (!index_.has_room()) {
            index_.clear(2 * index_.capacity());
            for (size_t e = 0; e < edges_.size(); ++e) index_.insert(edges_[e].a, edges_[e].b, uint32_t(e));
            slot = index_.slot(edges_, a, b);
        }
        index_.enter(slot, a, b, uint32_t(edges_.size()));
        edges_.push_back({a, b, {}});
        return uint32_t(edges_.size() - 1);
    }

    std::vector<Edge>& edges() { return edges_; }

  private:
    static constexpr uint32_t NONE = PairIndex<16>::NONE;

    PairIndex<16> index_;
    std::vector<Edge> edges_;
};

// Names as consecutive numbers, in the order in which they are first asked for.
template <class Name>
class NameTable {
  public:
    static constexpr uint32_t NONE = uint32_t(-1);

    explicit NameTable(size_t expected = 0) {
        size_t slots = 1024;
        while (slots < 2 * expected) slots *= 2;
        slots_.assign(slots, NONE);
    }

    uint32_t add(Name name) {
        const size_t slot = place(name);
        if (slots_[slot] != NONE) return slots_[slot];
        if (names_.size() >= NONE) throw std::length_error("more than 2^32 - 1 names in one table");
        const uint32_t number = slots_[slot] = uint32_t(names_.size());
        names_.push_back(name);
        if (names_.size() * 2 > slots_.size()) grow();
        return number;
    }

    // The number of a name, or NONE where it has none.
    uint32_t find(Name name) const { return slots_[place(name)]; }

    std::vector<Name>& names() { return names_; }

  private:
    size_t place(Name name) const {
        size_t slot = mix(name, 0) & (slots_.size() - 1);
        for (; slots_[slot] != NONE && names_[slots_[slot]] != name; steps_ += 1)
            slot = (slot + 1) & (slots_.size() - 1);
        steps_ += 1;
        return slot;
    }

    void grow() {
        slots_.assign(slots_.size() * 2, NONE);
        for (size_t i = 0; i < names_.size(); ++i) slots_[place(names_[i])] = uint32_t(i);
    }

    std::vector<uint32_t> slots_;
    std::vector<Name> names_;
    mutable Operations steps_;
};

}  // namespace neuropil
