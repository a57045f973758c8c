// Threads that can be stopped. Results of kernels never depend on the number of threads.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include "times.hpp"

namespace neuropil {

// Thrown inside a kernel when its caller has stopped it (Ctrl-C).
struct Cancelled : std::runtime_error {
    Cancelled() : std::runtime_error("cancelled") {}
};

// How a kernel is run: number of threads, request to stop, and times of its steps.
struct Run {
    int threads = 1;
    std::atomic<bool>* stop = nullptr;
    Times* times = nullptr;

    void check() const {
        if (stop && stop->load(std::memory_order_relaxed)) throw Cancelled();
    }
};

// Calls work(begin, end) for pieces of [0, count) in order, and checks between them whether to stop.
template <class Work>
void each_chunk(const Run& run, int64_t count, Work&& work) {
    constexpr int64_t CHUNK = 1 << 18;
    for (int64_t begin = 0; begin < count; begin += CHUNK) {
        run.check();
        work(begin, std::min(count, begin + CHUNK));
    }
}

// Prefetches memory for writing.
inline void prefetch_to_write(const void* where) {
#if defined(__GNUC__)
    __builtin_prefetch(where, 1);
#else
    (void)where;
#endif
}

// std::sort that can be stopped.
template <class Iterator, class Less>
void sort_checked(const Run& run, Iterator first, Iterator last, Less less) {
    if (last - first < 1 << 16) return std::sort(first, last, less);
    uint32_t calls = 0;
    std::sort(first, last, [&](const auto& a, const auto& b) {
        if (++calls % (1 << 16) == 0) run.check();
        return less(a, b);
    });
}

// Calls work(i) once for every i in [0, count), handed out in order to the next free thread. The first exception ends
// the loop and is rethrown here. If the system gives fewer threads, these do all the work.
template <class Work>
void parallel_for(const Run& run, int64_t count, Work&& work, const char* name = "other") {
    std::atomic<int64_t> next{0};
    std::exception_ptr failure;
    std::mutex guard;
    Times::Step step{name};
    const double start = run.times ? seconds_now() : 0;
    auto serve = [&] {
        double total = 0, longest = 0;
        try {
            for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) {
                run.check();
                const double begin = run.times ? seconds_now() : 0;
                work(i);
                if (!run.times) continue;
                const double taken = seconds_now() - begin;
                total += taken, longest = std::max(longest, taken);
            }
        } catch (...) {
            next.store(count, std::memory_order_relaxed);
            std::lock_guard lock(guard);
            if (!failure) failure = std::current_exception();
        }
        if (!run.times) return;
        std::lock_guard lock(guard);
        step.work += total, step.longest = std::max(step.longest, longest);
    };
    const int64_t helpers = std::min<int64_t>(run.threads, count) - 1;
    std::vector<std::thread> pool;
    pool.reserve(std::max<int64_t>(0, helpers));
    try {
        for (int64_t i = 0; i < helpers; ++i) pool.emplace_back(serve);
    } catch (const std::system_error&) {
    }
    serve();
    for (auto& thread : pool) thread.join();
    if (failure) std::rethrow_exception(failure);
    if (!run.times) return;
    step.wall = seconds_now() - start, step.pieces = count;
    run.times->add(step);
}

}  // namespace neuropil
