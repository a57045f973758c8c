// The mutex watershed (Wolf et al. 2018): edges by descending |weight|, ties by channel, then by voxel; an attractive
// edge unites two clusters unless they exclude each other, a repulsive one makes them exclude each other.
//
// It is done in three steps that give exactly the clusters of the one sorted sweep. (1) A voxel whose first edge is
// attractive unites across it: nothing has happened to the voxel before, so nothing can forbid it. (2) Between two of
// the clusters so found only the first edge matters: after it they are one, or exclude each other. (3) The sweep itself
// runs on the graph of these clusters, pooling edges by keeping the earlier.
#pragma once
#include <vector>

#include "agglomerate.hpp"
#include "region_graph.hpp"
#include "watershed.hpp"

namespace neuropil {

// Affinity channels with any offsets. Edge (channel, voxel) joins voxel and voxel + offset, and comes in the sweep at
// rank[channel * codes + code] (smaller is earlier, several codes may share a rank), then in the order of voxels.
template <class Code>
struct SignedEdges {
    static constexpr uint32_t NEVER = uint32_t(-1);
    static constexpr uint32_t REPULSIVE = uint32_t(1) << 31;  // set in ranks of repulsive edges

    Shape shape;
    std::vector<const Code*> channels;
    std::vector<std::array<int64_t, 3>> offsets;
    const uint32_t* rank;
    size_t codes;
    std::array<int64_t, 3> strides{1, 1, 1};  // thin the offsets longer than one voxel
    const uint8_t* mask = nullptr;            // 1 = use

    uint32_t rank_of(size_t channel, int64_t voxel) const { return rank[channel * codes + channels[channel][voxel]]; }
};

// When an edge comes in the sweep: rank, voxel, and whether it repels.
inline uint64_t place_in_sweep(uint32_t rank, int64_t voxel) {
    constexpr uint32_t REPULSIVE = SignedEdges<uint8_t>::REPULSIVE;
    return uint64_t(rank & ~REPULSIVE) << 41 | uint64_t(voxel) << 1 | (rank >> 31);
}

// The first edge of two clusters, as a score of merging.
template <class I>
struct First {
    using Index = I;
    struct Stats {
        static constexpr int key = 0;  // no two edges come at the same time
        uint64_t place = uint64_t(-1);
    };

    static void pool(Stats& into, const Stats& other) { into.place = std::min(into.place, other.place); }
    static bool same(const Stats& a, const Stats& b) { return a.place == b.place; }
    static int compare(const Stats& a, const Stats& b) { return a.place < b.place ? 1 : a.place > b.place ? -1 : 0; }
    static uint64_t level(const Stats& stats) { return TOP - (stats.place >> 41); }
    static Stats adopt(const First&, const Stats& stats) { return stats; }

    static constexpr uint64_t TOP = (uint64_t(1) << 23) - 1;
};

template <class Code, class Index>
class MutexWatershed {
  public:
    // seeds may be null; voxels of one seed > 0 begin as one cluster, and clusters of different seeds never unite.
    MutexWatershed(const SignedEdges<Code>& edges, const Index* seeds, Index* labels, const Run& run)
        : edges_(edges),
          seeds_(seeds),
          labels_(labels),
          forest_(labels),
          run_(run),
          pieces_(std::max<int64_t>(1, std::min<int64_t>(run.threads, edges.shape.rows()))) {}

    // Returns the number of clusters; labels run from 1 in the order of first voxels, 0 = masked.
    Index operator()() {
        unite_first_choices();
        const Index clusters = forest_.number(edges_.shape.size(), pieces_, run_);
        auto part = cluster_graph();
        const std::vector<Index> final = sweep(std::move(part), clusters);
        const int64_t n = edges_.shape.size();
        parallel_for(run_, pieces_, [&](int64_t p) {
            const int64_t first = n * p / pieces_;
            each_chunk(run_, n * (p + 1) / pieces_ - first, [&](int64_t begin, int64_t end) {
                for (int64_t v = first + begin; v < first + end; ++v) labels_[v] = final[labels_[v]];
            });
        });
        return *std::max_element(final.begin(), final.end());
    }

  private:
    using Score = First<uint32_t>;

    bool used(int64_t voxel) const { return !edges_.mask || edges_.mask[voxel]; }

    struct Span {
        int64_t channel, delta, first, last,
            step;  // voxels first, first + step, … < last of a row; partners at + delta
    };

    // The edges stored in row (z, y) that stay in the volume.
    bool span(int64_t channel, int64_t z, int64_t y, Span& span) const {
        const Shape& shape = edges_.shape;
        const auto& o = edges_.offsets[channel];
        if (z < 0 || z >= shape.z || z + o[Z] < 0 || z + o[Z] >= shape.z) return false;
        if (y < 0 || y >= shape.y || y + o[Y] < 0 || y + o[Y] >= shape.y) return false;
        const bool thinned = std::abs(o[Z]) + std::abs(o[Y]) + std::abs(o[X]) > 1;
        if (thinned && (z % edges_.strides[Z] || y % edges_.strides[Y])) return false;
        const auto stride = shape.strides();
        span = {channel, o[Z] * stride[Z] + o[Y] * stride[Y] + o[X], std::max<int64_t>(0, -o[X]),
                std::min(shape.x, shape.x - o[X]), thinned ? edges_.strides[X] : 1};
        span.first = (span.first + span.step - 1) / span.step * span.step;
        return true;
    }

    template <class See>
    void each_span(int64_t row, See&& see) const {
        Span found;
        for (size_t e = 0; e < edges_.channels.size(); ++e)
            if (span(int64_t(e), row / edges_.shape.y, row % edges_.shape.y, found)) see(found);
    }

    struct Choice {
        uint64_t place;
        int64_t partner;
    };

    // The first edge of every voxel of a row, whether stored there or at its other end.
    void first_choices(int64_t row, std::vector<Choice>& choice) const {
        const int64_t x = edges_.shape.x, z = row / edges_.shape.y, y = row % edges_.shape.y;
        std::fill(choice.begin(), choice.end(), Choice{uint64_t(-1), -1});
        auto consider = [&](int64_t channel, int64_t stored, int64_t voxel, int64_t partner) {
            const uint32_t rank = edges_.rank_of(channel, stored);
            const uint64_t place = place_in_sweep(rank, stored);
            if (place >= choice[voxel - row * x].place || rank == SignedEdges<Code>::NEVER) return;
            if (used(voxel) && used(partner)) choice[voxel - row * x] = {place, partner};
        };
        Span s;
        for (size_t e = 0; e < edges_.channels.size(); ++e) {
            if (span(int64_t(e), z, y, s))
                for (int64_t v = row * x + s.first; v < row * x + s.last; v += s.step) consider(e, v, v, v + s.delta);
            const int64_t from_z = z - edges_.offsets[e][Z], from_y = y - edges_.offsets[e][Y];
            if (!span(int64_t(e), from_z, from_y, s)) continue;
            const int64_t from = (from_z * edges_.shape.y + from_y) * x;
            for (int64_t v = from + s.first; v < from + s.last; v += s.step) consider(e, v, v + s.delta, v);
        }
    }

    void unite_first_choices() {
        const int64_t rows = edges_.shape.rows(), x = edges_.shape.x;
        parallel_for(run_, rows, [&](int64_t row) {
            for (int64_t v = row * x; v < (row + 1) * x; ++v) used(v) ? forest_.root(v) : forest_.background(v);
        });
        std::vector<std::vector<std::pair<Index, Index>>> later(pieces_);
        parallel_for(run_, pieces_, [&](int64_t p) {
            const int64_t begin = rows * p / pieces_, end = rows * (p + 1) / pieces_;
            std::vector<Choice> choice(x);
            for (int64_t row = begin; row < end; ++row) {
                run_.check();
                first_choices(row, choice);
                for (int64_t i = 0; i < x; ++i) {
                    const int64_t v = row * x + i, partner = choice[i].partner;
                    if (partner < 0 || (choice[i].place & 1) || (seeds_ && seeds_[v])) continue;
                    if (partner >= begin * x && partner < end * x)
                        forest_.unite(Index(v), Index(partner));
                    else
                        later[p].emplace_back(Index(v), Index(partner));
                }
            }
        });
        for (const auto& pairs : later) {
            run_.check();
            for (const auto& [a, b] : pairs) forest_.unite(a, b);
        }
        unite_seeds();
    }

    void unite_seeds() {
        if (!seeds_) return;
        NameTable<Index> table;
        std::vector<Index> voxel;
        for (int64_t v = 0; v < edges_.shape.size(); ++v) {
            if (v % 65536 == 0) run_.check();
            if (!seeds_[v] || !used(v)) continue;
            const uint32_t seed = table.add(seeds_[v]);
            if (seed == voxel.size()) voxel.push_back(Index(v));
            forest_.unite(voxel[seed], Index(v));
        }
    }

    // The first edge of every pair of clusters that have one; duplicates from different pieces are pooled later.
    std::vector<LocalEdge<Score>> cluster_graph() const {
        const int64_t rows = edges_.shape.rows(), x = edges_.shape.x;
        std::vector<EdgeTable<LocalEdge<Score>, uint32_t>> tables(pieces_);
        parallel_for(run_, pieces_, [&](int64_t p) {
            auto& table = tables[p];
            for (int64_t row = rows * p / pieces_; row < rows * (p + 1) / pieces_; ++row) {
                run_.check();
                each_span(row, [&](const Span& s) {
                    uint32_t at = 0, last_a = 0, last_b = 0;
                    for (int64_t v = row * x + s.first; v < row * x + s.last; v += s.step) {
                        const uint32_t a = uint32_t(labels_[v]), b = uint32_t(labels_[v + s.delta]);
                        if (a == b || !a || !b) continue;
                        const uint32_t rank = edges_.rank_of(s.channel, v);
                        if (rank == SignedEdges<Code>::NEVER) continue;
                        if (a != last_a || b != last_b) at = table(a, b), last_a = a, last_b = b;
                        Score::pool(table.edges()[at].stats, {place_in_sweep(rank, v)});
                    }
                });
            }
        });
        std::vector<LocalEdge<Score>> all = std::move(tables[0].edges());
        for (int64_t p = 1; p < pieces_; ++p) all.insert(all.end(), tables[p].edges().begin(), tables[p].edges().end());
        return all;
    }

    // The final label of every cluster.
    std::vector<Index> sweep(std::vector<LocalEdge<Score>> edges, Index clusters) const {
        std::vector<Index> seed(seeds_ ? size_t(clusters) + 1 : 0);
        for (int64_t v = 0; seeds_ && v < edges_.shape.size(); ++v)
            if (seeds_[v]) seed[labels_[v]] = seeds_[v];
        Score score;
        MergingGraph<Score> graph(size_t(clusters) + 1, std::move(edges), score, run_);
        uint64_t lowest = Score::TOP;  // few of the ranks there could be are there
        for (const auto& edge : graph.edges()) lowest = std::min(lowest, Score::level(edge.stats));
        EdgeQueue<Score> queue(graph, Score::TOP, lowest);
        for (uint32_t e = 0; e < graph.size(); ++e) {
            if (e % 65536 == 0) run_.check();
            if (graph.alive(e)) queue.push(e);
        }
        Names<Index> names(clusters);
        auto skip = [](const LocalEdge<Score>&) { return false; };
        for (uint32_t e, step = 0; (e = queue.pop(skip)) != EdgeQueue<Score>::NONE; ++step) {
            if (step % 4096 == 0) run_.check();
            const auto edge = graph.edge(e);
            if (edge.stats.place & 1) continue;  // from now on the two exclude each other: the edge stays, unmerged
            if (seeds_ && seed[edge.a] && seed[edge.b]) continue;
            const Index a = names.find(edge.a), b = names.find(edge.b);
            names.unite(std::min(a, b), std::max(a, b));
            const uint32_t kept = graph.contract(e);
            if (seeds_) seed[kept] = std::max(seed[edge.a], seed[edge.b]);
        }
        std::vector<Index> final(size_t(clusters) + 1, 0);
        Index next = 0;
        for (Index c = 1; c <= clusters; ++c) final[c] = names.find(c) == c ? ++next : final[names.find(c)];
        return final;
    }

    const SignedEdges<Code>& edges_;
    const Index* seeds_;
    Index* labels_;
    VoxelForest<Index> forest_;
    const Run& run_;
    const int64_t pieces_;
};

}  // namespace neuropil
