// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/statistics.h"

#include <algorithm>
#include <cmath>

namespace tapir::bench {

Summary summarise(std::span<const double> values) {
  if (values.empty()) {
    return {};
  }
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const std::size_t middle = sorted.size() / 2;
  const double median = sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return {median, sorted.front(), sorted.back()};
}

std::uint32_t percentile(std::span<const std::uint32_t> sorted, double percent) {
  if (sorted.empty()) {
    return 0;
  }
  // A hair less, so that 99.9 % of 1000 values, which is no binary fraction, is the 999th and not the next.
  const double rank = std::ceil(percent / 100 * static_cast<double>(sorted.size()) - 1e-6);
  const auto index = static_cast<std::size_t>(std::max(rank, 1.0)) - 1;
  return sorted[std::min(index, sorted.size() - 1)];
}

std::vector<double> ratios(std::span<const double> values, std::span<const double> divisors) {
  std::vector<double> result;
  for (std::size_t i = 0; i < std::min(values.size(), divisors.size()); ++i) {
    result.push_back(divisors[i] == 0 ? 0 : values[i] / divisors[i]);
  }
  return result;
}

}  // namespace tapir::bench
