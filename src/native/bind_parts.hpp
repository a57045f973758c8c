// Python's view of what blocks need. Labels, names and keys have 64 bits here: blocks are parts of volumes of any size.
#pragma once
#include <utility>

#include "bind_segmentation.hpp"
#include "parts.hpp"

namespace neuropil {

// The columns of a summary that a score knows; the others stay as they are where nothing has been seen.
inline Summary<uint64_t>::Stats summary_of(const Mean<uint64_t>::Stats& stats) {
    return {stats.sum, stats.count, stats.key};
}
inline Summary<uint64_t>::Stats summary_of(const Extreme<uint64_t, true>::Stats& stats) {
    return {0, 0, stats.key, stats.code, 0xffff};
}
inline Summary<uint64_t>::Stats summary_of(const Extreme<uint64_t, false>::Stats& stats) {
    return {0, 0, stats.key, 0, stats.code};
}
inline Summary<uint64_t>::Stats summary_of(const Quantile<uint64_t>::Stats& stats) {
    return {0, stats.count, stats.key};
}

template <class Score>
nb::tuple histograms_of(const Part<Score>&) {
    return nb::make_tuple(to_numpy(std::vector<uint64_t>()), to_numpy(std::vector<uint16_t>()),
                          to_numpy(std::vector<uint64_t>()));
}
inline nb::tuple histograms_of(const Part<Quantile<uint64_t>>& part) { return bin_columns(part.edges, part.score); }

// What a merge is ordered by, as an exact fraction: sum / count of a mean, code / 1 of the other scores.
inline std::pair<uint64_t, uint64_t> fraction_of(const Mean<uint64_t>::Stats& stats) {
    return {stats.sum, stats.count};
}
template <class Stats>
std::pair<uint64_t, uint64_t> fraction_of(const Stats& stats) {
    return {stats.code, 1};
}

template <class Score>
nb::tuple exact_columns(const std::vector<Merge<Score>>& merges) {
    return nb::make_tuple(column<uint64_t>(merges, [](const auto& m) { return m.a; }),
                          column<uint64_t>(merges, [](const auto& m) { return m.b; }),
                          column<uint64_t>(merges, [](const auto& m) { return fraction_of(m.stats).first; }),
                          column<uint64_t>(merges, [](const auto& m) { return fraction_of(m.stats).second; }),
                          column<uint64_t>(merges, [](const auto& m) { return m.stats.key; }));
}

// Merges of one part, what is left of it, and the region that each of its regions has become.
template <class Score>
nb::tuple merged_part(Score score, const EdgeColumns<uint64_t>& columns, const BinColumns& bins,
                      List<const uint64_t> frozen, uint64_t top, double scale, double limit) {
    std::vector<Merge<Score>> merges;
    std::vector<uint64_t> names;
    Part<Score> rest{score, {}};
    std::vector<uint64_t> regions;
    run_interruptibly(1, [&](const Run& run) {
        auto part = make_part(score, columns, bins, run);
        auto [local, table] = number_regions(part, run);
        names = local.name;
        for (size_t i = 0; i < frozen.size(); ++i) {
            const uint32_t region = table.find(frozen.data()[i]);
            if (region != NameTable<uint64_t>::NONE) local.blocked[region] = true;
        }
        rest = merge_part(std::move(local), part.score, top, merges, run,
                          [&](const auto& stats) { return Score::value(stats, scale) >= limit; });
        Names<uint32_t> groups{uint32_t(names.size())};
        for (const auto& merge : merges) groups.unite(table.find(merge.a), table.find(merge.b));
        for (size_t i = 0; i < names.size(); ++i) regions.push_back(names[groups.find(uint32_t(i))]);
    });
    std::vector<Edge<Summary<uint64_t>>> edges;
    edges.reserve(rest.edges.size());
    for (const auto& edge : rest.edges) edges.push_back({edge.a, edge.b, summary_of(edge.stats)});
    return nb::make_tuple(exact_columns(merges), edge_columns(edges), histograms_of(rest), to_numpy(std::move(names)),
                          to_numpy(std::move(regions)));
}

template <class Code>
void bind_part_graph(nb::module_& m) {
    using Channel = Volume<const Code>;
    m.def("part_graph",
          [](Channel z, Channel y, Channel x, int flipped, Volume<const uint64_t> fragments, List<const uint32_t> value,
             std::tuple<int64_t, int64_t, int64_t> start, std::tuple<int64_t, int64_t, int64_t> stop, bool histograms) {
              const AnyFaces faces = make_faces<Code>(z, y, x, flipped);
              const Box box{{std::get<0>(start), std::get<1>(start), std::get<2>(start)},
                            {std::get<0>(stop), std::get<1>(stop), std::get<2>(stop)}};
              std::vector<Edge<Summary<uint64_t>>> edges;
              Part<Quantile<uint64_t>> part{Quantile<uint64_t>(50, 8 * sizeof(Code)), {}};
              run_interruptibly(1, [&](const Run& run) {
                  Summary<uint64_t> score;
                  edges = part_graph(faces, fragments.data(), value.data(), box, score, run);
                  if (histograms) part.edges = part_graph(faces, fragments.data(), value.data(), box, part.score, run);
              });
              nb::tuple bins = histograms ? histograms_of(part) : histograms_of(Part<Summary<uint64_t>>{});
              return nb::make_tuple(edge_columns(edges), bins);
          });
}

inline void bind_parts(nb::module_& m) {
    bind_part_graph<uint8_t>(m);
    bind_part_graph<uint16_t>(m);
    m.def("merge_part", [](const EdgeColumns<uint64_t>& columns, const BinColumns& bins, List<const uint64_t> frozen,
                           ScoreTuple chosen, uint64_t top, double scale, double limit) {
        return with_score<uint64_t>(
            chosen, [&](auto score) { return merged_part(score, columns, bins, frozen, top, scale, limit); });
    });
    // The order of merges given as fractions and keys.
    m.def("merge_order", [](List<const uint64_t> sum, List<const uint64_t> count, List<const uint64_t> key,
                            uint64_t top, int threads) {
        std::vector<Merge<Mean<uint64_t>>> merges(sum.size());
        run_interruptibly(threads, [&](const Run& run) {
            for (size_t i = 0; i < merges.size(); ++i)
                merges[i] = {i, 0, {sum.data()[i], count.data()[i], key.data()[i]}};
            merges = sort_merges(std::move(merges), top, run);
        });
        return column<uint64_t>(merges, [](const auto& merge) { return merge.a; });
    });
    m.def("unite_names", [](List<const uint64_t> a, List<const uint64_t> b) {
        auto [names, smallest] = unite_names(a.data(), b.data(), a.size());
        return nb::make_tuple(to_numpy(std::move(names)), to_numpy(std::move(smallest)));
    });
}

}  // namespace neuropil
