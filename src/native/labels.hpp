// Passes over the labels of all voxels, on all cores: the largest, how often each occurs, and other names for them.
#pragma once
#include <algorithm>
#include <vector>

#include "parallel.hpp"

namespace neuropil {

// Calls work(piece, begin, end) for pieces of [0, count) that are large enough for a thread.
template <class Work>
void each_piece(const Run& run, int64_t count, int64_t pieces, const char* name, Work&& work) {
    parallel_for(
        run, pieces,
        [&](int64_t p) {
            const int64_t first = count * p / pieces, last = count * (p + 1) / pieces;
            each_chunk(run, last - first, [&](int64_t begin, int64_t end) { work(p, first + begin, first + end); });
        },
        name);
}

inline int64_t pieces_of(const Run& run, int64_t count) {
    constexpr int64_t LEAST = 1 << 16;
    return std::max<int64_t>(1, std::min<int64_t>(4 * run.threads, count / LEAST));
}

template <class Label>
Label largest_label(const Label* labels, int64_t count, const Run& run) {
    const int64_t pieces = pieces_of(run, count);
    std::vector<Label> largest(pieces, 0);
    each_piece(run, count, pieces, "largest label", [&](int64_t p, int64_t begin, int64_t end) {
        Label most = 0;
        for (int64_t v = begin; v < end; ++v) most = std::max(most, labels[v]);
        largest[p] = std::max(largest[p], most);
    });
    return *std::max_element(largest.begin(), largest.end());
}

// Voxels of each label 0 … names - 1. Every thread counts into a list of its own.
template <class Label>
std::vector<uint64_t> count_labels(const Label* labels, int64_t count, size_t names, const Run& run) {
    const int64_t pieces = std::max<int64_t>(1, std::min<int64_t>(run.threads, count / int64_t(names + (1 << 16))));
    std::vector<std::vector<uint64_t>> counts(pieces, std::vector<uint64_t>(names, 0));
    each_piece(run, count, pieces, "count voxels", [&](int64_t p, int64_t begin, int64_t end) {
        auto& own = counts[p];
        for (int64_t v = begin; v < end;) {
            const int64_t first = v;
            const Label label = labels[v];
            do ++v;
            while (v < end && labels[v] == label);
            own[label] += uint64_t(v - first);
        }
    });
    for (int64_t p = 1; p < pieces; ++p)
        for (size_t i = 0; i < names; ++i) counts[0][i] += counts[p][i];
    return std::move(counts[0]);
}

// Every label's name in the table.
template <class Label, class Name>
void relabel(const Label* labels, int64_t count, const Name* table, Name* out, const Run& run) {
    each_piece(run, count, pieces_of(run, count), "relabel", [&](int64_t, int64_t begin, int64_t end) {
        for (int64_t v = begin; v < end; ++v) out[v] = table[labels[v]];
    });
}

}  // namespace neuropil
