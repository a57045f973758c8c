// The kernels that make batches against the definition, voxel by voxel: ids of any width, the largest and negative ones
// too, in rows of more than one piece with a gap between them, in batches.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <set>
#include <vector>

#include "chance.hpp"
#include "grey_values.hpp"
#include "targets.hpp"

namespace batches {

using namespace neuropil;

// [batch, z, y, x], and between two rows a gap that belongs to nobody; none behind the last, where reading is found.
template <class T>
struct Labels {
    int64_t batch = random(1, 3), depth = random(1, 4), height = random(1, 9), width = random(1, 200);
    int64_t row = width + random(0, 3);
    std::vector<T> ids;
    std::vector<uint8_t> known;

    Labels() : ids(batch * depth * height * row - (row - width)), known(ids.size()) {
        const T top = std::numeric_limits<T>::max(), some[] = {0, 1, 2, 3, top, T(top - 1), T(-1)};
        const int few = random(0, 3);  // of most volumes, those that fit 16 bits
        for (auto& id : ids) id = some[few ? random(0, few) : random(0, 6)];
        for (auto& use : known) use = random(0, 9) > 0;
    }

    int64_t at(int64_t b, int64_t z, int64_t y, int64_t x) const { return ((b * depth + z) * height + y) * row + x; }
    template <class U>
    Rows<U, 4> rows(const std::vector<U>& of) const {
        return {of.data(), {batch, depth, height, width}, {depth * height * row, height * row, row, 1}};
    }
};

template <class T>
void check_erosion(const Labels<T>& labels, const Run& run) {
    const int64_t steps = random(0, 3), sections = labels.batch * labels.depth;
    const int64_t rows = std::max<int64_t>(0, labels.height - 2 * steps);
    const int64_t inner = std::max<int64_t>(0, labels.width - 2 * steps);
    std::vector<T> eroded(sections * rows * inner);
    auto meets = std::make_unique<bool[]>(eroded.size());
    const Rows<T, 3> given{
        labels.ids.data(), {sections, labels.height, labels.width}, {labels.height * labels.row, labels.row, 1}};
    erode(given, steps, meets.get(), run);
    erode(given, steps, eroded.data(), run);
    for (int64_t n = 0; n < int64_t(eroded.size()); ++n) {
        const int64_t x = n % inner, y = n / inner % rows, z = n / inner / rows;
        auto id = [&](int64_t i, int64_t j) { return labels.ids[labels.at(0, z, y + i, x + j)]; };
        std::set<T> seen;
        for (int64_t i = 0; i <= 2 * steps; ++i)
            for (int64_t j = 0; j <= 2 * steps; ++j)
                if (id(i, j) > 0) seen.insert(id(i, j));
        expect(meets[n] == (seen.size() > 1), "meetings");
        expect(eroded[n] == (meets[n] ? T(0) : id(steps, steps)), "erosion");
    }
}

template <class T>
void check_edges(const Labels<T>& labels, const Run& run) {
    const auto& [batch, depth, height, width, row, ids, known] = labels;
    const std::vector<std::array<int64_t, 3>> offsets{{random(-5, 5), random(-10, 10), random(-210, 210)},
                                                      {0, 0, random(-5, 5)},
                                                      {random(-1, 1), 0, random(-70, 70)},
                                                      {-1, 0, 0}};
    std::vector<uint8_t> joined(offsets.size() * batch * depth * height * width, 7), valid(joined.size(), 7);
    Join<T>{labels.rows(ids), labels.rows(known), offsets, joined.data(), valid.data()}(run);
    int64_t place = 0;
    for (int64_t b = 0; b < batch; ++b)
        for (const auto& [dz, dy, dx] : offsets)
            for (int64_t z = 0; z < depth; ++z)
                for (int64_t y = 0; y < height; ++y)
                    for (int64_t x = 0; x < width; ++x, ++place) {
                        const bool inside = 0 <= z + dz && z + dz < depth && 0 <= y + dy && y + dy < height &&
                                            0 <= x + dx && x + dx < width;
                        const int64_t here = labels.at(b, z, y, x);
                        const int64_t there = inside ? labels.at(b, z + dz, y + dy, x + dx) : here;
                        const bool usable = inside && known[here] && known[there];
                        expect(valid[place] == usable, "validity");
                        expect(joined[place] == (usable && ids[here] != 0 && ids[here] == ids[there]), "affinities");
                    }
}

// Grey values of an image that lies transposed in memory, as flips and transposes leave it.
inline void check_grey_values(const Run& run) {
    const int64_t depth = random(1, 4), height = random(1, 9), width = random(1, 40);
    std::vector<uint8_t> image(depth * height * width);
    for (auto& grey : image) grey = uint8_t(random(0, 255));
    std::vector<float> table(depth * 256), found(image.size());
    for (auto& value : table) value = float(random(0, 1000));
    look_up(image.data(), {depth, height, width}, {height * width, 1, height}, table.data(), found.data(), run);
    for (int64_t n = 0; n < int64_t(found.size()); ++n) {
        const int64_t x = n % width, y = n / width % height, z = n / width / height;
        expect(found[n] == table[z * 256 + image[(z * width + x) * height + y]], "grey values");
    }
}

template <class T>
void check() {
    const Run run{random(1, 4)};
    const Labels<T> labels;
    check_erosion(labels, run);
    check_edges(labels, run);
    check_grey_values(run);
}

}  // namespace batches
