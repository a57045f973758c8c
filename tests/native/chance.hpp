// What all checks of kernels share: chance, and an end at what is not equal.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <random>

inline std::mt19937 rng(1);

inline int random(int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng); }

inline void expect(bool holds, const char* what) {
    if (holds) return;
    std::printf("not equal: %s\n", what);
    std::exit(1);
}
