// The one place where Python meets the kernels: converts arrays, releases the lock, calls a header.
#include <nanobind/nanobind.h>

namespace nb = nanobind;

NB_MODULE(_native, m) { m.doc() = "Native kernels of neuropil."; }
