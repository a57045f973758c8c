// The extension module: its bindings convert arrays, release the GIL and call the kernels in the headers.
#include <nanobind/nanobind.h>

#include "bind_batches.hpp"
#include "bind_blockwise.hpp"
#include "bind_edited_cut.hpp"
#include "bind_evaluation.hpp"
#include "bind_labels.hpp"
#include "bind_segmentation.hpp"
#include "bind_signed.hpp"

NB_MODULE(_native, m) {
    m.doc() = "Native kernels of neuropil.";
    neuropil::bind_segmentation(m);
    neuropil::bind_labels(m);
    neuropil::bind_signed(m);
    neuropil::bind_blockwise(m);
    neuropil::bind_edited_cut(m);
    neuropil::evaluation::bind_evaluation(m);
    neuropil::batches::bind_batches(m);
}
