// The mutex watershed (Wolf et al. 2018): edges by descending |weight|, ties by channel, then by voxel; an attractive
// edge unites two clusters unless they exclude each other, a repulsive one makes them exclude each other.
//
// Edges are sorted by counting and decided one by one on a union-find forest of voxels. Edges of voxels without any
// attractive edge are left out, since such a voxel stays alone.
#pragma once
#include <algorithm>
#include <atomic>
#include <functional>
#include <utility>
#include <vector>

#include "edge_table.hpp"
#include "mutex_sweep.hpp"
#include "region_graph.hpp"

namespace neuropil {

template <class Code, class Index>
class MutexWatershed {
  public:
    // seeds may be null; voxels of one seed > 0 begin as one cluster, and clusters of different seeds never unite.
    MutexWatershed(const SignedEdges<Code>& edges, const Index* seeds, Index* labels, const Run& run)
        : edges_(edges),
          seeds_(seeds),
          forest_(labels),
          run_(run),
          pieces_(std::max<int64_t>(1, std::min<int64_t>(run.threads, edges.shape.rows()))) {}

    // Returns the number of clusters; labels run from 1 in the order of first voxels, 0 = masked.
    Index operator()() {
        plant();
        unite_seeds();
        name_channels();
        if (channel_.size() <= FEW)
            sweep_few();
        else
            sweep_many();
        return forest_.number(edges_.shape.size(), run_);
    }

  private:
    static constexpr uint32_t NEVER = SignedEdges<Code>::NEVER, REPULSIVE = SignedEdges<Code>::REPULSIVE;
    static constexpr size_t FEW = 8192;  // ranks, or groups of ranks, that edges are counted into

    bool used(int64_t voxel) const { return !edges_.mask || edges_.mask[voxel]; }

    // Calls work(piece, row) for every row, each piece in order on one thread.
    template <class Work>
    void each_row(Work&& work) const {
        const int64_t rows = edges_.shape.rows();
        parallel_for(run_, pieces_, [&](int64_t p) {
            for (int64_t row = rows * p / pieces_; row < rows * (p + 1) / pieces_; ++row) {
                run_.check();
                work(p, row);
            }
        });
    }

    // Makes every voxel in use a tree of its own, and finds those that may unite with others.
    void plant() {
        const int64_t x = edges_.shape.x;
        sociable_.resize(edges_.shape.size(), 0);
        auto mark = [&](int64_t v) { std::atomic_ref<uint8_t>(sociable_[v]).store(1, std::memory_order_relaxed); };
        each_row([&](int64_t, int64_t row) {
            for (int64_t v = row * x; v < (row + 1) * x; ++v) {
                used(v) ? forest_.root(v) : forest_.background(v);
                if (seeds_ && seeds_[v] && used(v)) mark(v);
            }
            edges_.each_span(row, [&](size_t e, int64_t first, int64_t last, int64_t step) {
                const uint32_t* rank = edges_.rank + e * edges_.codes;
                const int64_t delta = edges_.delta(e);
                for (int64_t v = first; v < last; v += step)
                    if (!(rank[edges_.channels[e][v]] & REPULSIVE) && used(v) && used(v + delta))
                        mark(v), mark(v + delta);
            });
        });
    }

    void unite_seeds() {
        if (!seeds_) return;
        NameTable<Index> table;
        std::vector<Index> voxel;
        seed_.resize(edges_.shape.size(), 0);
        for (int64_t v = 0; v < edges_.shape.size(); ++v) {
            if (v % 65536 == 0) run_.check();
            if (!seeds_[v] || !used(v)) continue;
            const uint32_t seed = table.add(seeds_[v]);
            if (seed == voxel.size()) voxel.push_back(Index(v)), seed_[v] = seeds_[v];
            forest_.unite(voxel[seed], Index(v));
        }
    }

    // Which channel every rank belongs to.
    void name_channels() {
        for (size_t i = 0; i < edges_.channels.size() * edges_.codes; ++i) {
            if (edges_.rank[i] == NEVER) continue;
            const uint32_t rank = edges_.rank[i] & ~REPULSIVE;
            if (rank >= channel_.size()) channel_.resize(rank + 1, 0);
            channel_[rank] = uint32_t(i / edges_.codes);
        }
    }

    // Calls see(piece, rank, voxel) for all edges that can matter.
    template <class See>
    void each_edge(See&& see) const {
        each_row([&](int64_t p, int64_t row) {
            edges_.each_span(row, [&](size_t e, int64_t first, int64_t last, int64_t step) {
                const uint32_t* rank = edges_.rank + e * edges_.codes;
                const int64_t delta = edges_.delta(e);
                for (int64_t v = first; v < last; v += step) {
                    const uint32_t place = rank[edges_.channels[e][v]];
                    if (sociable_[v] & sociable_[v + delta] && place != NEVER) see(p, place, v);
                }
            });
        });
    }

    // Edges counted into groups of 2^shift ranks, within one in the order of rows; `begin` of each group, and the end.
    template <class Edge>
    std::vector<Edge> grouped(int shift, std::vector<size_t>& begin) {
        const size_t groups = (channel_.size() >> shift) + 1;
        std::vector<std::vector<size_t>> at(pieces_, std::vector<size_t>(groups, 0));
        each_edge([&](int64_t p, uint32_t rank, int64_t) { ++at[p][(rank & ~REPULSIVE) >> shift]; });
        size_t total = 0;
        for (size_t group = 0; group < groups; ++group) {
            begin.push_back(total);
            for (auto& piece : at) total += std::exchange(piece[group], total);
        }
        begin.push_back(total);
        std::vector<Edge> edges(total);
        each_edge([&](int64_t p, uint32_t rank, int64_t v) {
            edges[at[p][(rank & ~REPULSIVE) >> shift]++] = Edge::make(rank, v);
        });
        sociable_ = {};
        return edges;
    }

    void sweep_few() {
        std::vector<size_t> begin;
        const auto edges = grouped<NearEdge>(0, begin);
        Exclusions<Index> exclusions(forest_, edges_.shape.size(), run_);
        for (size_t rank = 0; rank < channel_.size(); ++rank) {
            const int64_t delta = edges_.delta(channel_[rank]);
            sweep(edges.data() + begin[rank], begin[rank + 1] - begin[rank], exclusions,
                  [&](const NearEdge&) { return delta; });
        }
    }

    void sweep_many() {
        std::vector<size_t> begin;
        auto edges = grouped<RankedEdge>(std::bit_width(channel_.size() / FEW), begin);
        parallel_for(run_, int64_t(begin.size()) - 1, [&](int64_t group) {
            sort_checked(run_, edges.begin() + begin[group], edges.begin() + begin[group + 1], std::less<>());
        });
        std::vector<int64_t> delta;
        for (size_t e = 0; e < edges_.channels.size(); ++e) delta.push_back(edges_.delta(e));
        Exclusions<Index> exclusions(forest_, edges_.shape.size(), run_);
        sweep(edges.data(), edges.size(), exclusions,
              [&](const RankedEdge& edge) { return delta[channel_[edge.rank()]]; });
    }

    // Decides edges in their order, with prefetching for the next ones.
    template <class Edge, class Delta>
    void sweep(const Edge* edges, size_t count, Exclusions<Index>& exclusions, Delta&& delta) {
        constexpr size_t FAR = 24, NEAR = 8;
        for (size_t i = 0; i < count; ++i) {
            if (i % 4096 == 0) run_.check();
            if (i + FAR < count) {
                const int64_t far = edges[i + FAR].voxel(), near = edges[i + NEAR].voxel();
                forest_.prefetch(far), forest_.prefetch(far + delta(edges[i + FAR]));
                for (const int64_t v : {near, near + delta(edges[i + NEAR])}) {
                    forest_.prefetch(forest_.up(v));
                    exclusions.prefetch(forest_.up(v));
                }
            }
            const int64_t v = edges[i].voxel();
            const Index a = forest_.find(Index(v)), b = forest_.find(Index(v + delta(edges[i])));
            if (a == b) continue;
            if (edges[i].repulsive())
                exclusions.exclude(a, b);
            else if (!(seeds_ && seed_[a] && seed_[b]) && !exclusions.exclude_each_other(a, b))
                unite(std::min(a, b), std::max(a, b), exclusions);
        }
    }

    void unite(Index kept, Index gone, Exclusions<Index>& exclusions) {
        forest_.attach(gone, kept);
        exclusions.join(kept, gone);
        if (seeds_) seed_[kept] = std::max(seed_[kept], seed_[gone]);
    }

    const SignedEdges<Code>& edges_;
    const Index* seeds_;
    VoxelForest<Index> forest_;
    const Run& run_;
    const int64_t pieces_;
    std::vector<uint8_t> sociable_;  // 1 = some edge attracts the voxel, or it has a seed
    std::vector<Index> seed_;        // of every root
    std::vector<uint32_t> channel_;  // of every rank
};

}  // namespace neuropil
