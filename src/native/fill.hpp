// Growing segments into the background, one layer of voxels at a time.
#pragma once
#include <vector>

#include "faces.hpp"
#include "labels.hpp"

namespace neuropil {

// Background voxels with a labelled neighbour, in order.
template <class Index, class EachNeighbour>
std::vector<int64_t> background_at_labels(const Index* labels, int64_t count, EachNeighbour&& each_neighbour,
                                          const Run& run) {
    const int64_t pieces = pieces_of(run, count);
    std::vector<std::vector<int64_t>> found(pieces);
    each_piece(run, count, pieces, "find background", [&](int64_t p, int64_t begin, int64_t end) {
        for (int64_t v = begin; v < end; ++v) {
            if (labels[v]) continue;
            bool touches = false;
            each_neighbour(v, [&](int64_t other, auto) { touches = touches || labels[other]; });
            if (touches) found[p].push_back(v);
        }
    });
    for (int64_t p = 1; p < pieces; ++p) found[0].insert(found[0].end(), found[p].begin(), found[p].end());
    return std::move(found[0]);
}

// In each round every background voxel with a labelled neighbour takes the label across its best face, ties in the
// order -x, -y, -z, +x, +y, +z; labels of a round count from the next one on. Without any label all voxels stay 0.
template <class Code, class Index>
void fill_background(const Faces<Code>& faces, Index* labels, const Run& run) {
    const Shape& shape = faces.shape;
    const auto stride = shape.strides();
    auto each_neighbour = [&](int64_t v, auto&& see) {
        const int64_t x = v % shape.x, y = v / shape.x % shape.y, z = v / stride[Z];
        if (x > 0) see(v - 1, faces.at(X, v));
        if (y > 0) see(v - stride[Y], faces.at(Y, v));
        if (z > 0) see(v - stride[Z], faces.at(Z, v));
        if (x + 1 < shape.x) see(v + 1, faces.at(X, v + 1));
        if (y + 1 < shape.y) see(v + stride[Y], faces.at(Y, v + stride[Y]));
        if (z + 1 < shape.z) see(v + stride[Z], faces.at(Z, v + stride[Z]));
    };
    std::vector<int64_t> next, front = background_at_labels(labels, shape.size(), each_neighbour, run);
    std::vector<bool> queued(shape.size(), false);
    for (const int64_t v : front) queued[v] = true;
    std::vector<Index> taken;
    while (!front.empty()) {
        run.check();
        taken.clear();
        for (size_t i = 0; i < front.size(); ++i) {
            if (i % 65536 == 0) run.check();
            const int64_t v = front[i];
            int best = -1;
            Index label = 0;
            each_neighbour(v, [&](int64_t other, Code code) {
                if (labels[other] && int(code) > best) best = code, label = labels[other];
            });
            taken.push_back(label);
        }
        for (size_t i = 0; i < front.size(); ++i) labels[front[i]] = taken[i];
        next.clear();
        for (size_t i = 0; i < front.size(); ++i) {
            if (i % 65536 == 0) run.check();
            each_neighbour(front[i], [&](int64_t other, Code) {
                if (labels[other] || queued[other]) return;
                queued[other] = true;
                next.push_back(other);
            });
        }
        front.swap(next);
    }
}

}  // namespace neuropil
