// Seeded 2-D watershed of a boundary map, section by section (Beucher and Meyer 1993).
#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <queue>
#include <tuple>
#include <vector>

#include "parallel.hpp"

namespace neuropil {

// One section [y, x]. Neighbours share an edge.
class Section {
  public:
    Section(const float* boundary, int64_t ny, int64_t nx) : boundary_(boundary), ny_(ny), nx_(nx) {}

    // Seeds at local maxima of the distance to boundaries of at least one half, numbered from 1 in raster order.
    uint32_t seed_at_distance(uint32_t* labels) const {
        const auto squared = squared_distances();
        return seed_at_plateaus(labels, [&](int64_t v) { return squared[v]; });
    }

    uint32_t seed_at_minima(uint32_t* labels) const {
        return seed_at_plateaus(labels, [&](int64_t v) { return -boundary_[v]; });
    }

    uint32_t seed_at_grid(uint32_t* labels, int64_t spacing) const {
        uint32_t count = 0;
        std::fill(labels, labels + ny_ * nx_, 0);
        for (int64_t y = 0; y < ny_; y += spacing)
            for (int64_t x = 0; x < nx_; x += spacing) labels[y * nx_ + x] = ++count;
        return count;
    }

    // Every pixel takes the label of the neighbour that reaches it first: low boundaries first, ties first in, first
    // out.
    void flood(uint32_t* labels) const {
        using Entry = std::tuple<float, uint64_t, int64_t>;
        std::vector<Entry> seeds;
        for (int64_t v = 0; v < ny_ * nx_; ++v)
            if (labels[v]) seeds.emplace_back(boundary_[v], seeds.size(), v);
        uint64_t arrived = seeds.size();
        std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue(std::greater<>(), std::move(seeds));
        while (!queue.empty()) {
            const int64_t v = std::get<2>(queue.top());
            queue.pop();
            each_neighbour(v, [&](int64_t other) {
                if (labels[other]) return;
                labels[other] = labels[v];
                queue.emplace(boundary_[other], arrived++, other);
            });
        }
    }

  private:
    template <class See>
    void each_neighbour(int64_t v, See&& see) const {
        const int64_t x = v % nx_;
        if (v >= nx_) see(v - nx_);
        if (x > 0) see(v - 1);
        if (x + 1 < nx_) see(v + 1);
        if (v + nx_ < ny_ * nx_) see(v + nx_);
    }

    // Numbers the plateaus that have no higher neighbour.
    template <class Height>
    uint32_t seed_at_plateaus(uint32_t* labels, Height&& height) const {
        uint32_t count = 0;
        std::fill(labels, labels + ny_ * nx_, 0);
        std::vector<bool> seen(ny_ * nx_, false);
        std::vector<int64_t> plateau;
        for (int64_t first = 0; first < ny_ * nx_; ++first) {
            if (seen[first]) continue;
            seen[first] = true;
            plateau.assign(1, first);
            bool highest = true;
            for (size_t i = 0; i < plateau.size(); ++i)
                each_neighbour(plateau[i], [&](int64_t other) {
                    if (height(other) > height(first)) highest = false;
                    if (seen[other] || height(other) != height(first)) return;
                    seen[other] = true;
                    plateau.push_back(other);
                });
            if (!highest) continue;
            ++count;
            for (const int64_t v : plateau) labels[v] = count;
        }
        return count;
    }

    // Squared distance to the nearest pixel with a boundary of at least one half; constant if there is none.
    std::vector<int64_t> squared_distances() const {
        const int64_t far = ny_ + nx_;
        std::vector<int64_t> along(ny_ * nx_), squared(ny_ * nx_);
        for (int64_t x = 0; x < nx_; ++x) {  // along y
            int64_t last = far;
            for (int64_t y = 0; y < ny_; ++y)
                along[y * nx_ + x] = last = boundary_[y * nx_ + x] < 0.5f ? std::min(far, last + 1) : 0;
            for (int64_t y = ny_ - 2; y >= 0; --y)
                along[y * nx_ + x] = std::min(along[y * nx_ + x], along[(y + 1) * nx_ + x] + 1);
        }
        for (int64_t y = 0; y < ny_; ++y)  // then along x, only as far as a nearer one is possible
            for (int64_t x = 0; x < nx_; ++x) {
                const int64_t* row = along.data() + y * nx_;
                int64_t best = row[x] >= far ? far * far : row[x] * row[x];
                for (int64_t d = 1; d * d < best && (x - d >= 0 || x + d < nx_); ++d)
                    for (const int64_t other : {x - d, x + d})
                        if (other >= 0 && other < nx_ && row[other] < far)
                            best = std::min(best, d * d + row[other] * row[other]);
                squared[y * nx_ + x] = best;
            }
        return squared;
    }

    const float* boundary_;
    int64_t ny_, nx_;
};

// How to seed: 0 at maxima of the distance to boundaries, 1 at minima of the boundary map, otherwise on a grid.
struct SeedRule {
    int kind;
    int64_t spacing;
};

// Labels from 1, each section's after those of the section before. Returns how many.
inline uint32_t flood_sections(const float* boundary, int64_t nz, int64_t ny, int64_t nx, SeedRule rule,
                               uint32_t* labels, const Run& run) {
    std::vector<uint32_t> counts(nz, 0);
    parallel_for(run, nz, [&](int64_t z) {
        const Section section(boundary + z * ny * nx, ny, nx);
        uint32_t* out = labels + z * ny * nx;
        counts[z] = rule.kind == 0   ? section.seed_at_distance(out)
                    : rule.kind == 1 ? section.seed_at_minima(out)
                                     : section.seed_at_grid(out, rule.spacing);
        section.flood(out);
    });
    uint32_t before = 0;
    for (int64_t z = 0; z < nz; ++z) {
        for (int64_t v = z * ny * nx; v < (z + 1) * ny * nx; ++v) labels[v] += before;
        before += counts[z];
    }
    return before;
}

}  // namespace neuropil
