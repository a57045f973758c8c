// The cost of edges and its slope against the definition, in floats and in bfloat16.
#pragma once
#include <cmath>
#include <cstdint>
#include <vector>

#include "chance.hpp"
#include "cross_entropy.hpp"

namespace costs {

using namespace neuropil;

template <class Logit>
void check() {
    const int64_t rows = random(1, 3) * random(1, 3),
                  voxels = random(1, 3) == 1 ? random(16300, 33000) : random(1, 600);
    const float smoothing = float(random(0, 1)) * 0.1f, factor = float(random(1, 100)) / 100;
    const EdgeCost cost{float(random(0, 30)) / 10, float(random(0, 30)) / 10, smoothing};
    std::vector<Logit> logits(rows * voxels), slope(rows * voxels);
    std::vector<uint8_t> target(rows * voxels), valid(rows * voxels);
    for (auto& logit : logits) narrow(float(random(-100000, 100000)) / 2000, logit);
    for (auto& is : target) is = uint8_t(random(0, 1));
    for (auto& use : valid) use = uint8_t(random(0, 9) > 0);
    const EdgeLoss<Logit> loss{logits.data(), target.data(), valid.data(), rows, voxels, {cost}};
    double expected = 0;
    loss.slopes(factor, slope.data(), Run{random(1, 4)});
    for (size_t i = 0; i < logits.size(); ++i) {
        const double z = target[i] ? -double(widened(logits[i])) : double(widened(logits[i]));
        const double weight = valid[i] ? (target[i] ? cost.there : cost.not_there) : 0;
        expected += weight * (std::max(z, 0.0) + std::log1p(std::exp(-std::fabs(z))) - smoothing * z);
        const double steep = weight * factor * (1 / (1 + std::exp(-z)) - smoothing) * (target[i] ? -1 : 1);
        expect(std::fabs(widened(slope[i]) - steep) <= 1e-6 + std::fabs(steep) / 250, "slope of the cost");
    }
    const double total = loss.total(Run{1});
    expect(std::fabs(total - expected) <= 1e-6 * (1 + std::fabs(expected)), "cost");
    expect(total == loss.total(Run{random(2, 4)}), "cost on several threads");
}

}  // namespace costs
