// The watershed of Zlateski and Seung (2015) with their plateau search, on float affinities, in one thread, as in
// zwatershed and waterz. `watershed.hpp` breaks ties by a rule instead, and works in blocks.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "faces.hpp"
#include "parallel.hpp"

namespace neuropil {

// Affinities [z, y, x] of three axes to the voxel before. The scan, with z or x as the outermost axis, numbers labels
// from 1 and decides between equally near exits of a plateau.
class Basins {
  public:
    Basins(const std::array<const float*, 3>& faces, const Shape& shape, float low, float high, bool x_outermost,
           uint64_t* labels, const Run& run)
        : faces_(faces),
          shape_(shape),
          low_(low),
          high_(high),
          x_outermost_(x_outermost),
          labels_(labels),
          run_(run),
          ways_(shape.size(), 0) {
        const auto stride = shape.strides();
        for (int d = 0; d < 6; ++d) step_[d] = d < 3 ? -stride[d] : stride[d - 3];
    }

    uint64_t operator()() {
        find_ways();
        leave_plateaus();
        return number();
    }

  private:
    enum : uint8_t { SEEN = 64 };  // above the bits of the six ways: −z, −y, −x, +z, +y, +x

    static constexpr int back(int d) { return d < 3 ? d + 3 : d - 3; }
    bool leads(int64_t v, int d) const { return ways_[v] & (1 << d); }

    template <class See>
    void scan(See&& see) const {
        const int64_t n = shape_.size(), rows = shape_.rows();
        for (int64_t i = 0; i < n; ++i) {
            if (i % 65536 == 0) run_.check();
            if (!x_outermost_) {
                see(i);
                continue;
            }
            const int64_t x = i / rows, y = i % rows / shape_.z, z = i % shape_.z;
            see((z * shape_.y + y) * shape_.x + x);
        }
    }

    // Ways from each voxel to the neighbours across its best faces, and across every face of at least `high`.
    void find_ways() {
        const std::array<int64_t, 3> size{shape_.z, shape_.y, shape_.x};
        for (int64_t v = 0; v < shape_.size(); ++v) {
            if (v % 65536 == 0) run_.check();
            const std::array<int64_t, 3> at{v / (shape_.y * shape_.x), v / shape_.x % shape_.y, v % shape_.x};
            std::array<float, 6> face;
            for (int axis = 0; axis < 3; ++axis) {
                face[axis] = at[axis] > 0 ? faces_[axis][v] : low_;
                face[axis + 3] = at[axis] + 1 < size[axis] ? faces_[axis][v + step_[axis + 3]] : low_;
            }
            const float best = std::max(low_, *std::max_element(face.begin(), face.end()));
            for (int d = 0; best > low_ && d < 6; ++d)
                if (face[d] == best || face[d] >= high_) ways_[v] |= uint8_t(1 << d);
        }
    }

    // Each voxel of a plateau with exits keeps one way, towards the nearest exit; of several the last one.
    void leave_plateaus() {
        std::vector<int64_t> queue;
        auto reach = [&](int64_t v) {
            if (ways_[v] & SEEN) return;
            ways_[v] |= SEEN;
            queue.push_back(v);
        };
        scan([&](int64_t v) {
            for (int d = 0; d < 6; ++d)
                if (leads(v, d) && !leads(v + step_[d], back(d))) reach(v);
        });
        for (size_t i = 0; i < queue.size(); ++i) {
            if (i % 65536 == 0) run_.check();
            const int64_t v = queue[i];
            uint8_t kept = 0;
            for (int d = 0; d < 6; ++d) {
                if (!leads(v, d)) continue;
                if (leads(v + step_[d], back(d)))
                    reach(v + step_[d]);
                else
                    kept = uint8_t(1 << d);
            }
            ways_[v] = kept;
        }
    }

    // All voxels whose ways lead to the same minimum are one basin.
    uint64_t number() {
        for (auto& ways : ways_) ways &= uint8_t(~SEEN);
        std::fill(labels_, labels_ + shape_.size(), 0);
        uint64_t count = 0;
        std::vector<int64_t> path;
        scan([&](int64_t v) {
            if (labels_[v] || !ways_[v]) return;
            path.assign(1, v);
            ways_[v] |= SEEN;
            uint64_t label = follow(path);
            if (!label) label = ++count;
            for (const int64_t w : path) labels_[w] = label;
        });
        return count;
    }

    // Extends a path along its ways up to the first voxel that has a label, and returns that label.
    uint64_t follow(std::vector<int64_t>& path) {
        for (size_t i = 0; i < path.size(); ++i) {
            for (int d = 0; d < 6; ++d) {
                if (!leads(path[i], d)) continue;
                const int64_t next = path[i] + step_[d];
                if (labels_[next]) return labels_[next];
                if (ways_[next] & SEEN) continue;
                ways_[next] |= SEEN;
                path.push_back(next);
            }
        }
        return 0;
    }

    const std::array<const float*, 3> faces_;
    const Shape shape_;
    const float low_, high_;
    const bool x_outermost_;
    uint64_t* labels_;
    const Run& run_;
    std::vector<uint8_t> ways_;
    std::array<int64_t, 6> step_{};
};

}  // namespace neuropil
