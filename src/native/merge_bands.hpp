// Merging of a whole graph, best scores first, in independent pieces. Pooling never gives an edge better than the
// better of the two, so edges of at least some score, the floor, come only from edges of at least that score: two
// regions that no path of such edges joins do not merge above the floor, whatever happens elsewhere. So the connected
// components of these edges are merged down to the floor one by one, on all cores, each small enough for a cache; and
// what is left waits for the next, lower floor. No component sees a difference to greedy merging of the whole.
#pragma once
#include <algorithm>
#include <atomic>
#include <numeric>
#include <utility>
#include <vector>

#include "agglomerate.hpp"
#include "parallel.hpp"

namespace neuropil {

// Trees over nodes that several threads unite at a time. The root of a tree is its smallest node, whoever came first.
template <class Index>
class SharedForest {
  public:
    explicit SharedForest(size_t nodes) : up_(nodes) { std::iota(up_.begin(), up_.end(), Index(0)); }

    Index find(Index v) {
        for (;;) {
            const Index up = load(v);
            if (up == v) return v;
            const Index top = load(up);
            if (top != up) set(v, top);
            v = top;
        }
    }

    // The same without shortening paths, so that others may rewrite theirs meanwhile.
    Index root(Index v) {
        for (Index up; (up = load(v)) != v;) v = up;
        return v;
    }

    void set(Index v, Index to) { std::atomic_ref<Index>(up_[v]).store(to, std::memory_order_relaxed); }

    void unite(Index a, Index b) {
        for (;;) {
            a = find(a), b = find(b);
            if (a == b) return;
            if (a > b) std::swap(a, b);
            if (std::atomic_ref<Index>(up_[b]).compare_exchange_strong(b, a, std::memory_order_relaxed)) return;
        }
    }

    // Plain access, for whoever is alone with these nodes.
    Index& operator[](Index v) { return up_[v]; }
    const Index& operator[](Index v) const { return up_[v]; }

  private:
    Index load(Index v) { return std::atomic_ref<Index>(up_[v]).load(std::memory_order_relaxed); }

    std::vector<Index> up_;
};

template <class Score>
class BandMerger {
  public:
    using Index = typename Score::Index;

    // Regions are named 0..count; `score` stores nothing. Parts may hold parts of one edge. Small components are merged
    // together until they have `grain` edges, and a few times as many edges in all are not worth another band.
    BandMerger(std::vector<Part<Score>> parts, Index count, uint64_t top, const Score& score, size_t grain,
               const Run& run)
        : parts_(std::move(parts)),
          grain_(grain),
          top_(top),
          score_(score),
          run_(run),
          forest_(size_t(count) + 1),
          piece_(size_t(count) + 1, NONE),
          number_(size_t(count) + 1, NONE) {}

    // All merges; greedy order within each list only.
    std::vector<std::vector<Merge<Score>>> operator()() {
        for (uint64_t ceiling = top_ + 1; ceiling > 0;) {
            const uint64_t floor = next_floor(ceiling);
            find_components(floor);
            merge_pieces(distribute(form_pieces()), floor);
            ceiling = floor;
        }
        return std::move(merges_);
    }

  private:
    static constexpr uint32_t NONE = uint32_t(-1);
    static constexpr size_t BINS = 4096;

    // Edges of one part that belong to one piece.
    struct Range {
        uint32_t part, begin, end;
    };

    // The level that about a sixth of all edges reach; 0 where few are left. All edges are below the ceiling.
    uint64_t next_floor(uint64_t ceiling) const {
        size_t edges = 0;
        for (const auto& part : parts_) edges += part.edges.size();
        if (edges <= 3 * grain_) return 0;
        int shift = 0;
        while (ceiling >> shift >= BINS) ++shift;
        std::vector<std::atomic<size_t>> reached(BINS);
        parallel_for(run_, int64_t(parts_.size()), [&](int64_t p) {
            std::vector<uint32_t> count(BINS, 0);
            for (const auto& edge : parts_[p].edges) ++count[Score::level(edge.stats) >> shift];
            for (size_t bin = 0; bin < BINS; ++bin)
                if (count[bin]) reached[bin].fetch_add(count[bin], std::memory_order_relaxed);
        });
        size_t seen = 0, bin = BINS;
        while (bin > 0 && seen < edges / 6 + 1) seen += reached[--bin];
        return uint64_t(bin) << shift;
    }

    template <class See>
    void each_node(See&& see) {
        constexpr int64_t CHUNK = 1 << 16;
        const int64_t nodes = int64_t(number_.size());
        parallel_for(run_, (nodes + CHUNK - 1) / CHUNK, [&](int64_t chunk) {
            for (int64_t v = chunk * CHUNK; v < std::min(nodes, (chunk + 1) * CHUNK); ++v) see(Index(v));
        });
    }

    // Connected components of the edges at or above the floor, each named in the forest by its root.
    void find_components(uint64_t floor) {
        parallel_for(run_, int64_t(parts_.size()), [&](int64_t p) {
            for (const auto& edge : parts_[p].edges)
                if (Score::level(edge.stats) >= floor) forest_.unite(edge.a, edge.b);
        });
        each_node([&](Index v) { forest_.set(v, forest_.root(v)); });
    }

    // Numbers the components that have edges, several small ones sharing a number; returns how many edges each has.
    std::vector<size_t> form_pieces() {
        each_node([&](Index v) { piece_[v] = 0; });
        parallel_for(run_, int64_t(parts_.size()), [&](int64_t p) {
            Index last = 0;
            uint32_t run = 0;
            auto flush = [&] { std::atomic_ref<uint32_t>(piece_[last]).fetch_add(run, std::memory_order_relaxed); };
            for (const auto& edge : parts_[p].edges) {
                const Index root = forest_[edge.a];
                if (root != forest_[edge.b]) continue;
                if (root != last) flush(), last = root, run = 0;
                ++run;
            }
            flush();
        });
        std::vector<size_t> sizes;
        for (uint32_t& piece : piece_) {
            if (!piece) continue;
            if (sizes.empty() || sizes.back() >= grain_) sizes.push_back(0);
            sizes.back() += piece;
            piece = uint32_t(sizes.size() - 1);
        }
        return sizes;
    }

    // Sorts the edges of every part: first those between components, then those within, piece by piece. Returns the
    // ranges of each piece, largest piece first.
    std::vector<std::vector<Range>> distribute(const std::vector<size_t>& sizes) {
        std::vector<std::vector<uint32_t>> starts(parts_.size());
        parallel_for(run_, int64_t(parts_.size()), [&](int64_t p) {
            run_.check();
            starts[p] = sort_part(parts_[p].edges, uint32_t(sizes.size()));
        });
        std::vector<uint32_t> order(sizes.size()), place(sizes.size());
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](uint32_t i, uint32_t j) { return sizes[i] > sizes[j]; });
        for (uint32_t i = 0; i < order.size(); ++i) place[order[i]] = i;
        std::vector<std::vector<Range>> ranges(sizes.size());
        kept_.resize(parts_.size());
        for (uint32_t p = 0; p < parts_.size(); ++p) {
            kept_[p] = starts[p][0];
            for (uint32_t i = 0; i < sizes.size(); ++i)
                if (starts[p][i] < starts[p][i + 1]) ranges[place[i]].push_back({p, starts[p][i], starts[p][i + 1]});
        }
        return ranges;
    }

    // Where the edges of each piece begin, and where the last one's end.
    std::vector<uint32_t> sort_part(std::vector<Edge<Score>>& edges, size_t pieces) {
        std::vector<uint32_t> group(edges.size()), start(pieces + 2, 0);
        for (size_t e = 0; e < edges.size(); ++e) {
            const Index root = forest_[edges[e].a];
            group[e] = root == forest_[edges[e].b] ? piece_[root] + 1 : 0;
            ++start[group[e]];
        }
        uint32_t before = 0;
        for (auto& count : start) before += std::exchange(count, before);
        std::vector<uint32_t> next(start);
        std::vector<Edge<Score>> sorted(edges.size());
        for (size_t e = 0; e < edges.size(); ++e) sorted[next[group[e]]++] = edges[e];
        edges.swap(sorted);
        start.erase(start.begin());
        return start;
    }

    void merge_pieces(const std::vector<std::vector<Range>>& ranges, uint64_t floor) {
        const size_t known = merges_.size();
        merges_.resize(known + ranges.size());
        std::vector<Part<Score>> rest(ranges.size(), Part<Score>{score_, {}});
        parallel_for(run_, int64_t(ranges.size()),
                     [&](int64_t i) { rest[i] = merge_piece(ranges[i], floor, merges_[known + i]); });
        parallel_for(run_, int64_t(parts_.size()), [&](int64_t p) { rename(parts_[p], kept_[p]); });
        std::erase_if(parts_, [](const auto& part) { return part.edges.empty(); });
        for (auto& part : rest)
            if (!part.edges.empty()) parts_.push_back(std::move(part));
        each_node([&](Index v) { forest_.set(v, v); });
    }

    // The nodes of a piece are this call's alone, in the forest, too: there it leaves what they have become.
    Part<Score> merge_piece(const std::vector<Range>& ranges, uint64_t floor, std::vector<Merge<Score>>& merges) {
        run_.check();
        Score score = score_;
        std::vector<Index> name;
        std::vector<LocalEdge<Score>> edges;
        size_t count = 0;
        for (const auto& range : ranges) count += range.end - range.begin;
        edges.reserve(count);
        auto number = [&](Index v) {
            if (number_[v] == NONE) number_[v] = uint32_t(name.size()), name.push_back(v);
            return number_[v];
        };
        for (const auto& [p, begin, end] : ranges) {
            for (uint32_t e = begin; e < end; ++e) {
                const auto& edge = parts_[p].edges[e];
                const uint32_t a = number(edge.a), b = number(edge.b);
                edges.push_back({std::min(a, b), std::max(a, b), score.adopt(parts_[p].score, edge.stats)});
            }
        }
        std::vector<Index> nodes = name;
        MergingGraph<Score> graph(name.size(), std::move(edges), score);
        EdgeQueue<Score> queue(graph, top_, floor);
        for (uint32_t e = 0; e < graph.size(); ++e)
            if (graph.alive(e)) queue.push(e);
        Names<uint32_t> regions(uint32_t(name.size()));
        auto all = [](const LocalEdge<Score>&) { return false; };
        for (uint32_t e, step = 0; (e = queue.pop(all)) != EdgeQueue<Score>::NONE; ++step) {
            if (step % 4096 == 0) run_.check();
            const LocalEdge<Score> edge = graph.edge(e);
            const auto [a, b] = std::minmax(name[edge.a], name[edge.b]);
            merges.push_back({a, b, edge.stats});
            const Index smaller = a;
            const uint32_t kept = graph.contract(e);
            regions.unite(kept, kept == edge.a ? edge.b : edge.a);
            name[kept] = smaller;
        }
        for (uint32_t v = 0; v < nodes.size(); ++v) {
            forest_.set(nodes[v], name[regions.find(v)]);
            number_[nodes[v]] = NONE;
        }
        return rest_of(graph, name, score, [](const auto&) { return true; });
    }

    // Drops the edges that pieces have taken, and names the others by what their ends have become.
    void rename(Part<Score>& part, uint32_t kept) {
        Part<Score> renamed{score_, {}};
        renamed.edges.reserve(kept);
        for (uint32_t e = 0; e < kept; ++e) {
            const auto& edge = part.edges[e];
            const auto [a, b] = std::minmax(forest_[edge.a], forest_[edge.b]);
            renamed.edges.push_back({a, b, renamed.score.adopt(part.score, edge.stats)});
        }
        part = std::move(renamed);
    }

    std::vector<Part<Score>> parts_;
    const size_t grain_;
    const uint64_t top_;
    const Score score_;
    const Run& run_;
    SharedForest<Index> forest_;
    std::vector<uint32_t> piece_, number_;
    std::vector<uint32_t> kept_;  // how many edges of each part no piece takes
    std::vector<std::vector<Merge<Score>>> merges_;
};

}  // namespace neuropil
