// Parallel merging of a whole graph, best scores first, in independent pieces. Pooling two edges never gives a better
// edge than the better of the two. So regions that are not connected by edges of at least some score, the floor, cannot
// merge above the floor. The connected components of these edges are therefore merged down to the floor independently,
// on all cores, each small enough for a cache; the rest is deferred to the next, lower floor. The merges are the same
// as those of greedy merging of the whole graph.
#pragma once
#include <algorithm>
#include <atomic>
#include <numeric>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "agglomerate.hpp"
#include "parallel.hpp"
#include "piece_edges.hpp"
#include "shared_forest.hpp"

namespace neuropil {

template <class Score>
class BandMerger {
  public:
    using Index = typename Score::Index;

    // Regions are named 0..count; `score` is empty. Parts may hold parts of one edge. Small components are merged
    // together until they have `grain` edges; once only a few times `grain` edges are left, they are merged as the last
    // band.
    BandMerger(std::vector<Part<Score>> parts, Index count, uint64_t top, const Score& score, size_t grain,
               const Run& run)
        : parts_(std::move(parts)),
          grain_(grain),
          top_(top),
          score_(score),
          run_(run),
          forest_(size_t(count) + 1),
          name_(size_t(count) + 1),
          number_(size_t(count) + 1) {
        std::iota(name_.begin(), name_.end(), Index(0));
    }

    // All merges; greedy order within each list only.
    std::vector<std::vector<Merge<Score>>> operator()() {
        merge_down_to(0);
        return std::move(merges_);
    }

    // Merges down to `enough`. Returns the new name of each region, and the remaining edges, in parts, whose names may
    // be outdated.
    std::pair<std::vector<Index>, std::vector<Part<Score>>> regions(const Reaches<Score>& enough) {
        enough_ = enough;
        merge_down_to(enough.lowest(top_));
        for (Index& name : name_) name = name_[name];  // names are smaller, so they are settled
        return {std::move(name_), std::move(parts_)};
    }

    // All merges down to `enough` of a graph that is part of a larger one, each after those that it needs. Regions r
    // with blocked[r], and those whose best neighbour is one, are deferred and take its number. Returns the edges
    // between deferred regions, every pair once; all others are merged or not enough.
    Part<Score> part(std::vector<uint8_t>& blocked, const Reaches<Score>& enough, std::vector<Merge<Score>>& merges) {
        blocked_ = std::move(blocked);
        enough_ = enough;
        merge_down_to(enough.lowest(top_));
        for (auto& list : merges_) {
            merges.insert(merges.end(), list.begin(), list.end());
            std::vector<Merge<Score>>().swap(list);
        }
        rename_edges([](const Edge<Score>&) {});
        std::vector<Part<Score>>().swap(parts_);
        blocked = std::move(blocked_);
        return pool_aside();
    }

  private:
    static constexpr uint32_t NONE = uint32_t(-1);
    static constexpr size_t BINS = 4096;
    static constexpr size_t SHARE = 8;  // a band takes about this part of the edges

    void merge_down_to(uint64_t lowest) {
        for (uint64_t ceiling = top_ + 1; ceiling > lowest;) {
            const uint64_t floor = std::max(lowest, next_floor(ceiling));
            find_components(floor);
            const auto pieces = distribute(form_pieces(part_inner_edges()));
            each_node([&](Index v) { number_[v] = NONE; });
            merge_pieces(pieces, floor);
            ceiling = floor;
        }
    }

    // The level that one of SHARE edges reaches, estimated from a sample; 0 if few edges are left. Edges at or above
    // the ceiling are between deferred regions.
    uint64_t next_floor(uint64_t ceiling) const {
        size_t edges = 0;
        for (const auto& part : parts_) edges += part.edges.size();
        if (edges <= 3 * grain_) return 0;
        int shift = 0;
        while (ceiling >> shift >= BINS) ++shift;
        std::vector<size_t> reached(BINS);
        const size_t step = 1 + edges / 100'000;
        size_t seen = 0, sampled = 0, at = 0;
        for (const auto& part : parts_) {
            for (; at < part.edges.size(); at += step, ++sampled)
                ++reached[std::min(Score::level(part.edges[at].stats), ceiling - 1) >> shift];
            at -= part.edges.size();
        }
        size_t bin = BINS;
        while (bin > 0 && seen < sampled / SHARE + 1) seen += reached[--bin];
        return uint64_t(bin) << shift;
    }

    template <class See>
    void each_node(See&& see) {
        constexpr int64_t CHUNK = 1 << 16;
        const int64_t nodes = int64_t(number_.size());
        parallel_for(
            run_, (nodes + CHUNK - 1) / CHUNK,
            [&](int64_t chunk) {
                Operations steps;
                const int64_t end = std::min(nodes, (chunk + 1) * CHUNK);
                steps += end - chunk * CHUNK;
                for (int64_t v = chunk * CHUNK; v < end; ++v) see(Index(v));
            },
            "nodes");
    }

    bool wait(Index a, Index b) const { return !blocked_.empty() && blocked_[a] && blocked_[b]; }

    // Renames the regions of all edges; edges between two deferred regions are put aside, see() is called for the
    // others.
    template <class See>
    void rename_edges(See&& see) {
        std::vector<Part<Score>> aside(blocked_.empty() ? 0 : parts_.size(), Part<Score>{score_, {}});
        parallel_for(
            run_, int64_t(parts_.size()),
            [&](int64_t p) {
                run_.check();
                auto& edges = parts_[p].edges;
                size_t kept = 0;
                Operations steps;
                steps += edges.size();
                for (size_t e = 0; e < edges.size(); ++e) {
                    ask_ahead(edges, e, name_.data());
                    auto& edge = edges[e];
                    const Index one = name_[edge.a], two = name_[edge.b];
                    edge.a = std::min(one, two), edge.b = std::max(one, two);
                    if (wait(edge.a, edge.b)) {
                        aside[p].edges.push_back({edge.a, edge.b, aside[p].score.adopt(parts_[p].score, edge.stats)});
                        continue;
                    }
                    see(edge);
                    if (kept < e) edges[kept] = edge;
                    ++kept;
                }
                edges.resize(kept);
            },
            "rename edges");
        for (auto& part : aside)
            if (!part.edges.empty()) aside_.push_back(std::move(part));
    }

    // Prefetches the entries of `of` for the regions of an edge that is processed soon.
    template <class T>
    static void ask_ahead(const std::vector<Edge<Score>>& edges, size_t e, const T* of) {
        constexpr size_t AHEAD = 24;
        if (e + AHEAD >= edges.size()) return;
        __builtin_prefetch(of + edges[e + AHEAD].a);
        __builtin_prefetch(of + edges[e + AHEAD].b);
    }

    // The edges put aside, with the parts of every edge added up.
    Part<Score> pool_aside() {
        size_t count = 0;
        for (const auto& part : aside_) count += part.edges.size();
        Part<Score> all{score_, {}};
        PairIndex<0> index(count);
        for (auto& part : aside_) {
            run_.check();
            for (const auto& edge : part.edges) {
                const auto [a, b] = std::minmax(name_[edge.a], name_[edge.b]);
                const size_t slot = index.slot(all.edges, a, b);
                const uint32_t known = index.at(slot);
                const auto stats = all.score.adopt(part.score, edge.stats);
                if (known != NONE) {
                    all.score.pool(all.edges[known].stats, stats);
                    continue;
                }
                if (all.edges.size() >= NONE) throw std::length_error("more than 2^32 - 1 edges in one table");
                index.enter(slot, a, b, uint32_t(all.edges.size()));
                all.edges.push_back({a, b, stats});
            }
            part = Part<Score>{score_, {}};
        }
        return all;
    }

    // Connected components of the edges at or above the floor, each named in the forest by its root.
    void find_components(uint64_t floor) {
        each_node([&](Index v) { forest_.set(v, v); });
        rename_edges([&](const Edge<Score>& edge) {
            if (Score::reaches(edge.stats, floor)) forest_.unite(edge.a, edge.b);
        });
        each_node([&](Index v) {
            forest_.set(v, forest_.root(v));
            number_[v] = 0;
        });
    }

    // Moves edges between components to the front of their parts. Returns where the others begin, and leaves their
    // number with the root of each component.
    std::vector<uint32_t> part_inner_edges() {
        std::vector<uint32_t> inner(parts_.size());
        parallel_for(
            run_, int64_t(parts_.size()),
            [&](int64_t p) {
                run_.check();
                Index last = 0;
                uint32_t count = 0;
                auto flush = [&] {
                    std::atomic_ref<uint32_t>(number_[last]).fetch_add(count, std::memory_order_relaxed);
                };
                auto& edges = parts_[p].edges;
                const auto middle = std::partition(edges.begin(), edges.end(), [&](const auto& edge) {
                    const Index root = forest_[edge.a];
                    if (root != forest_[edge.b]) return true;
                    if (root != last) flush(), last = root, count = 0;
                    ++count;
                    return false;
                });
                flush();
                inner[p] = uint32_t(middle - edges.begin());
            },
            "part edges");
        return inner;
    }

    struct Pieces {
        std::vector<uint32_t> inner;  // where the edges of pieces begin in each part
        std::vector<size_t> sizes;
        std::vector<std::vector<EdgeRange>> ranges;  // of each piece, largest piece first
    };

    // Numbers the components that have edges, several small ones sharing a number.
    Pieces form_pieces(std::vector<uint32_t> inner) {
        Pieces pieces{std::move(inner), {}, {}};
        auto& sizes = pieces.sizes;
        for (uint32_t& number : number_) {
            if (!number) continue;
            if (sizes.empty() || sizes.back() >= grain_) sizes.push_back(0);
            sizes.back() += number;
            number = uint32_t(sizes.size() - 1);
        }
        return pieces;
    }

    // Sorts the edges within components by their pieces.
    Pieces distribute(Pieces pieces) {
        const size_t count = pieces.sizes.size();
        std::vector<std::vector<PieceEdges>> found(parts_.size());
        auto piece = [&](const Edge<Score>& edge) { return number_[forest_[edge.a]]; };
        parallel_for(
            run_, int64_t(parts_.size()),
            [&](int64_t p) { found[p] = sort_by_piece(parts_[p].edges, pieces.inner[p], count, piece); }, "distribute");
        std::vector<uint32_t> order(count), place(count);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(),
                         [&](uint32_t i, uint32_t j) { return pieces.sizes[i] > pieces.sizes[j]; });
        for (uint32_t i = 0; i < count; ++i) place[order[i]] = i;
        pieces.ranges.resize(count);
        for (uint32_t p = 0; p < parts_.size(); ++p)
            for (const auto& [piece, begin, end] : found[p]) pieces.ranges[place[piece]].push_back({p, begin, end});
        return pieces;
    }

    void merge_pieces(const Pieces& pieces, uint64_t floor) {
        const size_t known = merges_.size(), count = pieces.ranges.size();
        merges_.resize(known + count);
        std::vector<Part<Score>> rest(count, Part<Score>{score_, {}});
        parallel_for(
            run_, int64_t(count),
            [&](int64_t i) { rest[i] = merge_piece(pieces.ranges[i], floor, merges_[known + i]); }, "merge pieces");
        parallel_for(
            run_, int64_t(parts_.size()), [&](int64_t p) { shrink(parts_[p], pieces.inner[p]); }, "shrink parts");
        std::erase_if(parts_, [](const auto& part) { return part.edges.empty(); });
        for (auto& part : rest) {
            if (part.edges.empty()) continue;
            if (parts_.empty() || parts_.back().edges.size() + part.edges.size() > grain_) {
                parts_.push_back(std::move(part));
                continue;
            }
            auto& into = parts_.back();
            for (auto& edge : part.edges)
                into.edges.push_back({edge.a, edge.b, into.score.adopt(part.score, edge.stats)});
        }
    }

    // Merges a piece and stores the new names of its nodes, which no other call uses.
    Part<Score> merge_piece(const std::vector<EdgeRange>& ranges, uint64_t floor, std::vector<Merge<Score>>& merges) {
        run_.check();
        Score score = score_;
        std::vector<Index> name;
        MergingGraph<Score> graph = gather(ranges, score, name);
        const std::vector<Index> nodes = name;
        EdgeQueue<Score> queue(graph, top_, floor);
        std::vector<uint8_t> blocked(name.size());
        if (!blocked_.empty())
            for (uint32_t v = 0; v < nodes.size(); ++v) blocked[v] = blocked_[nodes[v]];
        auto skip = [&](const LocalEdge<Score>& edge) { return blocked[edge.a] && blocked[edge.b]; };
        queue.fill(run_, skip);
        Names<uint32_t> regions(uint32_t(name.size()));
        for (uint32_t e, step = 0; (e = queue.pop(skip)) != EdgeQueue<Score>::NONE; ++step) {
            if (step % 4096 == 0) run_.check();
            const LocalEdge<Score> edge = graph.edge(e);
            if (!enough_(edge.stats)) break;
            if (blocked[edge.a] || blocked[edge.b]) {
                if (!blocked[edge.a]) blocked[edge.a] = blocked[edge.b];
                if (!blocked[edge.b]) blocked[edge.b] = blocked[edge.a];
                continue;
            }
            const auto [a, b] = std::minmax(name[edge.a], name[edge.b]);
            merges.push_back({a, b, edge.stats});
            const Index smaller = a;
            const uint32_t kept = graph.contract(e);
            regions.unite(kept, kept == edge.a ? edge.b : edge.a);
            name[kept] = smaller;
        }
        for (uint32_t v = 0; v < nodes.size(); ++v) {
            const uint32_t region = regions.find(v);
            name_[nodes[v]] = name[region];
            if (!blocked_.empty()) blocked_[name[region]] = blocked[region];
        }
        return rest_of(graph, name, score, [](const auto&) { return true; });
    }

    // The graph of a piece, its nodes numbered in the order in which edges name them.
    MergingGraph<Score> gather(const std::vector<EdgeRange>& ranges, Score& score, std::vector<Index>& name) {
        size_t count = 0;
        for (const auto& range : ranges) count += range.end - range.begin;
        std::vector<LocalEdge<Score>> edges;
        edges.reserve(count);
        auto number = [&](Index v) {
            if (number_[v] == NONE) number_[v] = uint32_t(name.size()), name.push_back(v);
            return number_[v];
        };
        for (const auto& [p, begin, end] : ranges) {
            for (uint32_t e = begin; e < end; ++e) {
                ask_ahead(parts_[p].edges, e, number_.data());
                const auto& edge = parts_[p].edges[e];
                const uint32_t a = number(edge.a), b = number(edge.b);
                edges.push_back({std::min(a, b), std::max(a, b), score.adopt(parts_[p].score, edge.stats)});
            }
        }
        return MergingGraph<Score>(name.size(), std::move(edges), score, run_);
    }

    // Drops the edges that were moved into pieces; frees memory if much is unused.
    void shrink(Part<Score>& part, uint32_t kept) {
        if (4 * kept > 3 * part.edges.capacity()) {
            part.edges.resize(kept);
            return;
        }
        Part<Score> smaller{score_, {}};
        smaller.edges.reserve(kept);
        for (uint32_t e = 0; e < kept; ++e) {
            const auto& edge = part.edges[e];
            smaller.edges.push_back({edge.a, edge.b, smaller.score.adopt(part.score, edge.stats)});
        }
        part = std::move(smaller);
    }

    std::vector<Part<Score>> parts_;
    const size_t grain_;
    const uint64_t top_;
    const Score score_;
    const Run& run_;
    SharedForest<Index> forest_;
    std::vector<Index> name_;       // what each region has become
    std::vector<uint32_t> number_;  // edges of each component, then its piece, then each region's number in its piece
    std::vector<std::vector<Merge<Score>>> merges_;
    std::vector<uint8_t> blocked_;  // by name; empty where nothing is deferred
    Reaches<Score> enough_;
    std::vector<Part<Score>> aside_;
};

}  // namespace neuropil
