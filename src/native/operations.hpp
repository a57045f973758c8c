// Counts elementary steps of kernels, independent of the machine, for tests that run time grows at most as E log E.
#pragma once
#include <atomic>
#include <cstdint>

namespace neuropil {

// Steps of all kernels of this process.
inline std::atomic<uint64_t> operations{0};

// Steps of one object, added to those of the process by its destructor. Copies and moves do not transfer steps.
class Operations {
  public:
    Operations() = default;
    Operations(const Operations&) {}
    Operations& operator=(const Operations&) { return *this; }
    ~Operations() { operations.fetch_add(steps_, std::memory_order_relaxed); }

    void operator+=(uint64_t steps) { steps_ += steps; }

  private:
    uint64_t steps_ = 0;
};

}  // namespace neuropil
