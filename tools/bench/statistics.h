// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tapir::bench {

/// What is said of a figure that was measured several times.
struct Summary {
  double median = 0;
  double min = 0;
  double max = 0;
};

/// Of any number of values; all zero for none. The median of an even number is the mean of the middle two.
Summary summarise(std::span<const double> values);

/// The smallest value that at least `percent` of the values do not exceed (nearest rank). `sorted` ascends;
/// 0 for none.
std::uint32_t percentile(std::span<const std::uint32_t> sorted, double percent);

/// values[i] / divisors[i], for as many as there are of both. A divisor of 0 gives 0.
std::vector<double> ratios(std::span<const double> values, std::span<const double> divisors);

}  // namespace tapir::bench
