// How much work kernels have done, in elementary steps, whatever the machine: for tests that nothing grows faster than
// E log E.
#pragma once
#include <atomic>
#include <cstdint>

namespace neuropil {

// Steps of all kernels of this process.
inline std::atomic<uint64_t> operations{0};

// Steps of one object, added to those of the process when it goes. What is copied or moved from keeps its own.
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
