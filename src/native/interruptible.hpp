// Runs a kernel in a thread of its own, with the GIL released, so that Ctrl-C stops it.
#pragma once
#include <nanobind/nanobind.h>

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

#include "parallel.hpp"

namespace neuropil {

// The calling thread waits without the GIL and checks for signals ten times a second. If the system gives no thread,
// the calling one runs the kernel, and signals are handled at its end. With NEUROPIL_TIMES=1, kernels that have a name
// print the times of their steps.
template <class Kernel>
void run_interruptibly(int threads, Kernel&& kernel, const char* name = nullptr) {
    std::atomic<bool> stop{false};
    std::optional<Times> times;
    if (name && Times::wanted()) times.emplace();
    std::mutex guard;
    std::condition_variable finished;
    bool done = false;
    std::exception_ptr failure;
    auto work = [&] {
        try {
            kernel(Run{threads, &stop, times ? &*times : nullptr});
        } catch (...) {
            failure = std::current_exception();
        }
        std::lock_guard lock(guard);
        done = true;
        finished.notify_one();
    };
    bool interrupted = false;
    std::thread worker;
    {
        nanobind::gil_scoped_release unlocked;
        try {
            worker = std::thread(work);
        } catch (const std::system_error&) {
            work();
        }
        std::unique_lock lock(guard);
        while (!finished.wait_for(lock, std::chrono::milliseconds(100), [&] { return done; })) {
            lock.unlock();
            if (!interrupted) {
                nanobind::gil_scoped_acquire locked;
                interrupted = PyErr_CheckSignals() != 0;
                if (interrupted) stop.store(true);
            }
            lock.lock();
        }
    }
    if (worker.joinable()) worker.join();
    if (interrupted) throw nanobind::python_error();
    if (failure) std::rethrow_exception(failure);
    if (times) times->print(name, threads);
}

}  // namespace neuropil
