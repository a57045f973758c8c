// Bindings of passes over all voxels: counting and renaming of labels, encoding of affinities.
#pragma once
#include "basins.hpp"
#include "columns.hpp"
#include "encode.hpp"
#include "labels.hpp"
#include "sections.hpp"

namespace neuropil {

template <class Label>
void bind_on_labels(nb::module_& m) {
    using Labels = List<const Label>;
    m.def(
        "largest_label",
        [](Labels labels, int threads) {
            Label largest = 0;
            run_interruptibly(threads,
                              [&](const Run& run) { largest = largest_label(labels.data(), labels.size(), run); });
            return largest;
        },
        "labels"_a, "threads"_a);
    m.def(
        "count_labels",
        [](Labels labels, size_t names, int threads) {
            std::vector<uint64_t> counts;
            auto count = [&](const Run& run) { counts = count_labels(labels.data(), labels.size(), names, run); };
            run_interruptibly(threads, count);
            return to_numpy(std::move(counts));
        },
        "labels"_a, "names"_a, "threads"_a);
    auto relabels = [&]<class Name>(Name) {
        m.def(
            "relabel",
            [](Labels labels, List<const Name> table, List<Name> out, int threads) {
                auto rename = [&](const Run& run) {
                    relabel(labels.data(), labels.size(), table.data(), out.data(), run);
                };
                run_interruptibly(threads, rename, "relabel");
            },
            "labels"_a, "table"_a, "out"_a, "threads"_a);
    };
    relabels(uint32_t());
    relabels(uint64_t());
}

template <class Code>
void bind_encode(nb::module_& m) {
    m.def(
        "encode",
        [](List<const float> thresholds, List<const float> p, List<Code> codes, int threads) {
            const Encoder encoder(thresholds.data(), thresholds.size());
            bool good = false;
            auto all = [&](const Run& run) { good = encode(encoder, p.data(), p.size(), codes.data(), run); };
            run_interruptibly(threads, all, "encode");
            return good;
        },
        "thresholds"_a, "p"_a, "codes"_a, "threads"_a);
}

inline void bind_labels(nb::module_& m) {
    bind_on_labels<uint32_t>(m);
    bind_on_labels<uint64_t>(m);
    bind_encode<uint8_t>(m);
    bind_encode<uint16_t>(m);
    m.def(
        "flood_sections",
        [](Volume<const float> boundary, int seeds, int64_t spacing, Volume<uint32_t> labels, int threads) {
            const int64_t z = boundary.shape(0), y = boundary.shape(1), x = boundary.shape(2);
            uint32_t count = 0;
            run_interruptibly(threads, [&](const Run& run) {
                count = flood_sections(boundary.data(), z, y, x, {seeds, spacing}, labels.data(), run);
            });
            return count;
        },
        "boundary"_a, "seeds"_a, "spacing"_a, "labels"_a, "threads"_a);
    m.def(
        "basins",
        [](Volume<const float> z, Volume<const float> y, Volume<const float> x, float low, float high, bool x_outermost,
           Volume<uint64_t> labels) {
            const Shape shape{int64_t(z.shape(0)), int64_t(z.shape(1)), int64_t(z.shape(2))};
            uint64_t count = 0;
            run_interruptibly(1, [&](const Run& run) {
                const std::array<const float*, 3> faces{z.data(), y.data(), x.data()};
                count = Basins(faces, shape, low, high, x_outermost, labels.data(), run)();
            });
            return count;
        },
        "z"_a, "y"_a, "x"_a, "low"_a, "high"_a, "x_outermost"_a, "labels"_a);
}

}  // namespace neuropil
