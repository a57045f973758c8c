// The sums of adapted Rand and VI at every cut of a merge tree, in one pass over the merges.
//
// A segment is a row of the contingency table: its voxels per truth object. A merge adds two rows, and only cells that
// both rows have change the sums, so the time depends on the cells of the table, not on the number of voxels.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <numeric>
#include <utility>
#include <vector>

#include "parallel.hpp"

namespace neuropil {

// Squares of voxel counts pass 2^64 from 4 Gvoxel on.
using Wide = unsigned __int128;

// A running sum whose rounding errors do not grow with its length (Neumaier).
class CompensatedSum {
  public:
    void add(double value) {
        const double next = sum_ + value;
        rest_ += std::abs(sum_) >= std::abs(value) ? (sum_ - next) + value : (value - next) + sum_;
        sum_ = next;
    }
    double value() const { return sum_ + rest_; }

  private:
    double sum_ = 0, rest_ = 0;
};

inline double x_log_x(std::uint64_t x) { return x ? static_cast<double>(x) * std::log2(static_cast<double>(x)) : 0; }

struct CurvePoint {
    std::uint64_t merges;            // performed so far
    Wide pairs, segments;            // Σ n_ij², Σ s_j² over segments j >= 1
    double pairs_log, segments_log;  // Σ n_ij log2 n_ij, Σ s_j log2 s_j over segments j >= 0
};

class CutSums {
  public:
    // Regions 0 … fragments; region 0 is background. Cells come in ascending order of truth within each fragment.
    explicit CutSums(std::size_t fragments) : rows_(fragments + 1), size_(fragments + 1), up_(fragments + 1) {
        std::iota(up_.begin(), up_.end(), std::size_t(0));
    }

    void add_cell(std::uint32_t truth, std::size_t fragment, std::uint64_t count) {
        rows_[fragment].push_back({truth, count});
        size_[fragment] += count;
    }

    void begin() {
        for (std::size_t j = 0; j < rows_.size(); ++j) {
            for (const Cell& cell : rows_[j]) {
                if (j) now_.pairs += square(cell.count);
                pairs_log_.add(x_log_x(cell.count));
            }
            if (j) now_.segments += square(size_[j]);
            segments_log_.add(x_log_x(size_[j]));
        }
    }

    void merge(std::size_t a, std::size_t b) {
        ++now_.merges;
        a = find(a);
        b = find(b);
        if (a == b) return;
        if (rows_[a].size() < rows_[b].size()) std::swap(a, b);
        up_[b] = a;
        if (rows_[b].empty()) return;
        join(size_[a], size_[b], now_.segments, segments_log_);
        size_[a] += size_[b];
        add_row(rows_[a], rows_[b]);
        std::vector<Cell>().swap(rows_[b]);
    }

    CurvePoint point() const {
        CurvePoint point = now_;
        point.pairs_log = pairs_log_.value();
        point.segments_log = segments_log_.value();
        return point;
    }

  private:
    struct Cell {
        std::uint32_t truth;
        std::uint64_t count;
        bool operator<(const Cell& other) const { return truth < other.truth; }
    };

    static Wide square(std::uint64_t x) { return static_cast<Wide>(x) * x; }

    // Adds the contribution of two counts together minus that of both apart.
    static void join(std::uint64_t x, std::uint64_t y, Wide& squares, CompensatedSum& logs) {
        squares += 2 * static_cast<Wide>(x) * y;
        logs.add(x_log_x(x + y) - x_log_x(x) - x_log_x(y));
    }

    void add_row(std::vector<Cell>& row, const std::vector<Cell>& more) {
        news_.clear();
        auto at = row.begin();
        for (const Cell& cell : more) {
            at = std::lower_bound(at, row.end(), cell);
            if (at != row.end() && at->truth == cell.truth) {
                join(at->count, cell.count, now_.pairs, pairs_log_);
                at->count += cell.count;
            } else {
                news_.push_back(cell);
            }
        }
        if (news_.empty()) return;
        const auto middle = static_cast<std::ptrdiff_t>(row.size());
        row.insert(row.end(), news_.begin(), news_.end());
        std::inplace_merge(row.begin(), row.begin() + middle, row.end());
    }

    std::size_t find(std::size_t v) {
        for (; up_[v] != v; v = up_[v]) up_[v] = up_[up_[v]];
        return v;
    }

    std::vector<std::vector<Cell>> rows_;
    std::vector<std::uint64_t> size_;
    std::vector<std::size_t> up_;
    std::vector<Cell> news_;
    CurvePoint now_{};
    CompensatedSum pairs_log_, segments_log_;
};

// One point before any merge and one after each group of merges of equal score.
template <class Index>
std::vector<CurvePoint> threshold_curve(CutSums& sums, const Index* a, const Index* b, const double* score,
                                        std::size_t merges, const Run& run) {
    sums.begin();
    std::vector<CurvePoint> points{sums.point()};
    for (std::size_t i = 0; i < merges; ++i) {
        if (i % 4096 == 0) run.check();
        sums.merge(a[i], b[i]);
        if (i + 1 == merges || score[i + 1] != score[i]) points.push_back(sums.point());
    }
    return points;
}

}  // namespace neuropil
