// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/statistics.h"

#include <gtest/gtest.h>

#include <array>
#include <numeric>

namespace tapir::bench {
namespace {

TEST(Summary, MedianOfAnOddNumberIsTheMiddleOne) {
  const auto summary = summarise(std::array{5.0, 1.0, 3.0});
  EXPECT_EQ(summary.median, 3.0);
  EXPECT_EQ(summary.min, 1.0);
  EXPECT_EQ(summary.max, 5.0);
}

TEST(Summary, MedianOfAnEvenNumberIsBetweenTheMiddleTwo) {
  EXPECT_EQ(summarise(std::array{4.0, 1.0, 3.0, 10.0}).median, 3.5);
}

TEST(Summary, NothingMeasuredIsZero) {
  EXPECT_EQ(summarise({}).median, 0.0);
}

TEST(Percentile, IsTheNearestRank) {
  std::vector<std::uint32_t> values(1000);
  std::iota(values.begin(), values.end(), 1U);
  EXPECT_EQ(percentile(values, 50), 500U);
  EXPECT_EQ(percentile(values, 99), 990U);
  EXPECT_EQ(percentile(values, 99.9), 999U);
  EXPECT_EQ(percentile(values, 100), 1000U);
  EXPECT_EQ(percentile(values, 0), 1U);
}

TEST(Percentile, OneValueIsEveryPercentileAndNoneIsZero) {
  const std::array<std::uint32_t, 1> one{7};
  EXPECT_EQ(percentile(one, 1), 7U);
  EXPECT_EQ(percentile(one, 99.9), 7U);
  EXPECT_EQ(percentile({}, 50), 0U);
}

TEST(Ratios, AreTakenPairByPairAndNeverOfZero) {
  EXPECT_EQ(ratios(std::array{6.0, 1.0, 5.0}, std::array{3.0, 0.0}), (std::vector{2.0, 0.0}));
}

}  // namespace
}  // namespace tapir::bench
