// Times of a kernel: its parallel steps, and the serial work between them.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <vector>

namespace neuropil {

inline double seconds_now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The clock of one kernel if NEUROPIL_TIMES is set. Steps of the same name are added up.
class Times {
  public:
    struct Step {
        const char* name;
        double wall = 0, work = 0, longest = 0;  // from start to end; of all pieces together; the longest of each time
        int64_t pieces = 0;
    };

    static bool wanted() {
        const char* set = std::getenv("NEUROPIL_TIMES");
        return set && *set && std::strcmp(set, "0") != 0;
    }

    void add(const Step& step) {
        std::lock_guard lock(guard_);
        auto known = std::find_if(steps_.begin(), steps_.end(),
                                  [&](const Step& other) { return !std::strcmp(other.name, step.name); });
        if (known == steps_.end()) known = steps_.insert(known, {step.name});
        known->wall += step.wall;
        known->work += step.work;
        known->longest += step.longest;
        known->pieces += step.pieces;
    }

    // Serial work cannot be divided. With n threads a step takes at least its longest piece, and at least 1 / n of its
    // work.
    void print(const char* kernel, int threads) const {
        const double wall = seconds_now() - start_;
        double parallel = 0, work = 0;
        for (const Step& step : steps_) parallel += step.wall, work += step.work;
        std::fprintf(stderr, "%s: %.1f ms on %d threads, %.1f ms of them alone (%.1f %%)\n", kernel, 1e3 * wall,
                     threads, 1e3 * (wall - parallel), 100 * (wall - parallel) / wall);
        for (const Step& step : steps_)
            std::fprintf(stderr, "  %-24s %8.1f ms   work %8.1f   longest pieces %7.1f   %lld pieces\n", step.name,
                         1e3 * step.wall, 1e3 * step.work, 1e3 * step.longest, (long long)step.pieces);
        const double alone = wall - parallel;
        for (const int n : {1, 2, 4, 8, 16}) {
            double span = alone;
            for (const Step& step : steps_) span += std::max(step.longest, step.work / n);
            std::fprintf(stderr, "  %s%d: %.1f ms", n == 1 ? "span on threads " : ", ", n, 1e3 * span);
        }
        std::fprintf(stderr, "\n");
    }

  private:
    const double start_ = seconds_now();
    std::vector<Step> steps_;
    std::mutex guard_;
};

}  // namespace neuropil
