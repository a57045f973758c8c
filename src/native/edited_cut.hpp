// Kernels for proofreading: an order of a merge tree's leaves in which every region is an interval; minimum cuts.
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace neuropil {

// The leaves of a tree in such an order, and for each merge where its two regions lie in it:
// [start, middle) and [middle, end).
struct TreeIntervals {
    std::vector<int64_t> leaf;  // leaf[p] is the fragment, from 1, at position p
    std::vector<int64_t> start, middle, end;
};

// Merge i joins the regions whose smallest fragments are a[i] < b[i]; fragments count from 1.
template <class Index>
TreeIntervals tree_intervals(int64_t fragments, const Index* a, const Index* b, int64_t merges) {
    std::vector<int64_t> next(fragments + 1, 0), last(fragments + 1), size(fragments + 1, 1);
    for (int64_t f = 0; f <= fragments; ++f) last[f] = f;
    std::vector<char> inner(fragments + 1, 0);
    TreeIntervals found;
    found.start.resize(merges);
    found.middle.resize(merges);
    found.end.resize(merges);
    for (int64_t i = 0; i < merges; ++i) {
        const int64_t u = a[i], v = b[i];
        found.middle[i] = size[u];
        found.end[i] = size[u] += size[v];
        next[last[u]] = v;
        last[u] = last[v];
        inner[v] = 1;
    }
    std::vector<int64_t> position(fragments + 1, 0);
    found.leaf.reserve(fragments);
    for (int64_t root = 1; root <= fragments; ++root) {
        if (inner[root]) continue;
        for (int64_t f = root; f; f = next[f]) {
            position[f] = int64_t(found.leaf.size());
            found.leaf.push_back(f);
        }
    }
    for (int64_t i = 0; i < merges; ++i) {
        found.start[i] = position[a[i]];
        found.middle[i] += found.start[i];
        found.end[i] += found.start[i];
    }
    return found;
}

// For each pair of positions p < q in an order of leaves: the largest of gap[p … q - 1], by a table of powers of two.
inline std::vector<int64_t> largest_between(const int64_t* gap, int64_t gaps, const int64_t* p, const int64_t* q,
                                            int64_t pairs) {
    std::vector<int64_t> level(gap, gap + gaps), found(pairs);
    for (int64_t width = 1; width <= std::max<int64_t>(gaps, 1); width *= 2) {
        for (int64_t i = 0; i < pairs; ++i) {
            const int64_t length = q[i] - p[i];
            if (length >= width && length < 2 * width) found[i] = std::max(level[p[i]], level[q[i] - width]);
        }
        for (int64_t j = 0; j + width < gaps; ++j) level[j] = std::max(level[j], level[j + width]);
    }
    return found;
}

// Minimum cut by Dinic's maximum flow in an undirected graph with integer capacities (Dinic 1970).
class MinimumCut {
  public:
    MinimumCut(int64_t nodes, const int64_t* u, const int64_t* v, const int64_t* capacity, int64_t edges)
        : first_(nodes + 1, 0), level_(nodes), at_(nodes), target_(2 * edges), back_(2 * edges), rest_(2 * edges) {
        for (int64_t e = 0; e < edges; ++e) ++first_[u[e] + 1], ++first_[v[e] + 1];
        for (int64_t n = 0; n < nodes; ++n) first_[n + 1] += first_[n];
        std::vector<int64_t> place(first_.begin(), first_.end() - 1);
        for (int64_t e = 0; e < edges; ++e) {
            const int64_t here = place[u[e]]++, there = place[v[e]]++;
            target_[here] = v[e], back_[here] = there, rest_[here] = capacity[e];
            target_[there] = u[e], back_[there] = here, rest_[there] = capacity[e];
        }
    }

    // 1 for nodes on the source's side, the smallest such side; 0 for the others.
    std::vector<uint8_t> side(int64_t source, int64_t sink) {
        while (levels(source, sink)) {
            at_.assign(first_.begin(), first_.end() - 1);
            while (push(source, sink)) {
            }
        }
        std::vector<uint8_t> found(level_.size());
        for (size_t n = 0; n < found.size(); ++n) found[n] = level_[n] >= 0;
        return found;
    }

  private:
    bool levels(int64_t source, int64_t sink) {
        std::fill(level_.begin(), level_.end(), -1);
        level_[source] = 0;
        std::vector<int64_t> queue{source};
        for (size_t head = 0; head < queue.size(); ++head) {
            const int64_t n = queue[head];
            for (int64_t e = first_[n]; e < first_[n + 1]; ++e) {
                if (rest_[e] > 0 && level_[target_[e]] < 0) {
                    level_[target_[e]] = level_[n] + 1;
                    queue.push_back(target_[e]);
                }
            }
        }
        return level_[sink] >= 0;
    }

    // Pushes flow along one path of rising levels; without recursion, since chains of fragments may be long.
    bool push(int64_t source, int64_t sink) {
        std::vector<int64_t> path;
        int64_t n = source;
        while (n != sink) {
            int64_t& e = at_[n];
            while (e < first_[n + 1] && !(rest_[e] > 0 && level_[target_[e]] == level_[n] + 1)) ++e;
            if (e < first_[n + 1]) {
                path.push_back(e);
                n = target_[e];
            } else if (path.empty()) {
                return false;
            } else {
                n = target_[back_[path.back()]];
                path.pop_back();
                ++at_[n];
            }
        }
        int64_t flow = std::numeric_limits<int64_t>::max();
        for (int64_t e : path) flow = std::min(flow, rest_[e]);
        for (int64_t e : path) rest_[e] -= flow, rest_[back_[e]] += flow;
        return true;
    }

    std::vector<int64_t> first_, level_, at_, target_, back_, rest_;
};

}  // namespace neuropil
