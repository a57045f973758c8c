// Quantiles of edges that become one, against a sorted map: few codes, lists, tables, and counts too large for a bin.
#pragma once
#include <cstdint>
#include <map>
#include <vector>

#include "chance.hpp"
#include "region_graph.hpp"

namespace quantiles {

using namespace neuropil;
using Score = Quantile<uint64_t>;
using Counts = std::map<uint16_t, uint64_t>;

inline uint64_t faces_of(const Counts& counts) {
    uint64_t faces = 0;
    for (const auto& [code, count] : counts) faces += count;
    return faces;
}

inline void check_edge(const Score& score, const Score::Stats& stats, const Counts& counts, uint64_t key, int percent) {
    Counts found;
    int last = -1;
    score.each_bin(stats, [&](uint16_t code, uint64_t count) {
        expect(count > 0 && int(code) >= last, "bins in order");
        last = code;
        found[code] += count;
    });
    expect(found == counts && stats.count == faces_of(counts) && stats.key == key, "bins");
    const uint64_t n = stats.count, rank = std::min(n, n / 100 * percent + n % 100 * percent / 100 + 1);
    uint64_t seen = 0;
    auto at = counts.begin();
    while ((seen += at->second) < rank) ++at;
    expect(stats.code == at->first, "quantile");
}

// Edges of few faces or many, of few codes or of all.
inline void check(int bits) {
    const int percent = random(0, 100), top = (1 << bits) - 1, edges = random(2, 12);
    const int spread = std::min(top, random(0, 2) ? random(0, 300) : top), least = random(0, top - spread);
    auto code = [&] { return uint16_t(random(least, least + spread)); };
    Score score(percent, bits), other = score.empty();
    std::vector<Edge<Score>> list(edges);
    std::vector<Counts> counts(edges);
    for (int e = 0; e < edges; ++e) list[e].stats.key = uint64_t(e);
    for (int faces = random(0, 2) ? random(edges, 60) : random(edges, 3000), f = 0; f < faces; ++f) {
        const int e = f < edges ? f : random(0, edges - 1);
        const uint16_t face = code();
        score.add_face(list[e].stats, uint32_t(e), face, 0, uint64_t(e));
        ++counts[e][face];
    }
    score.finish(list);
    for (int e = 0; e < edges; ++e) {
        check_edge(score, list[e].stats, counts[e], uint64_t(e), percent);
        if (random(0, 3)) continue;
        std::vector<uint16_t> codes;
        std::vector<uint64_t> many;
        for (auto& [face, count] : counts[e]) {
            count += random(0, 3) ? 0 : uint64_t(random(0, 40'000'000));
            codes.push_back(face), many.push_back(count);
        }
        list[e].stats = {};
        list[e].stats.count = faces_of(counts[e]), list[e].stats.key = uint64_t(e);
        score.fill(list[e].stats, codes.data(), many.data(), codes.size());
    }
    while (list.size() > 1) {
        const size_t a = size_t(random(0, int(list.size()) - 2)), b = list.size() - 1;
        score.pool(list[a].stats, list[b].stats);
        for (const auto& [face, count] : counts[b]) counts[a][face] += count;
        check_edge(score, list[a].stats, counts[a], list[a].stats.key, percent);
        expect(list[a].stats.key >= list[b].stats.key, "key of two");
        list.pop_back(), counts.pop_back();
        if (random(0, 3)) continue;
        for (auto& edge : list) edge.stats = other.adopt(score, edge.stats);
        score = other;
        other = score.empty();
        for (size_t e = 0; e < list.size(); ++e)
            check_edge(score, list[e].stats, counts[e], list[e].stats.key, percent);
    }
}

}  // namespace quantiles
