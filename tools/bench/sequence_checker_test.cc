// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/sequence_checker.h"

#include <gtest/gtest.h>

#include <initializer_list>

namespace tapir::bench {
namespace {

SequenceChecker after(std::uint64_t first, std::initializer_list<std::uint64_t> numbers) {
  SequenceChecker checker(first);
  for (const std::uint64_t number : numbers) {
    checker.see(number);
  }
  return checker;
}

TEST(SequenceChecker, AllInOrderIsSound) {
  const auto checker = after(5, {5, 6, 7});
  EXPECT_EQ(checker.disordered(), 0U);
  EXPECT_EQ(checker.missing(8), 0U);
}

TEST(SequenceChecker, GapIsMissingAndNotDisorder) {
  const auto checker = after(0, {0, 1, 4});
  EXPECT_EQ(checker.disordered(), 0U);
  EXPECT_EQ(checker.missing(5), 2U);
}

TEST(SequenceChecker, LostFramesAtTheEndAreMissing) {
  EXPECT_EQ(after(0, {0, 1}).missing(10), 8U);
}

TEST(SequenceChecker, OvertakenFrameIsDisorderAndNotMissing) {
  const auto checker = after(0, {0, 2, 1, 3});
  EXPECT_EQ(checker.disordered(), 1U);
  EXPECT_EQ(checker.missing(4), 0U);
}

TEST(SequenceChecker, DuplicateIsDisorder) {
  EXPECT_EQ(after(0, {0, 1, 1}).disordered(), 1U);
}

TEST(SequenceChecker, DamagedFrameArrivedButIsCounted) {
  auto checker = after(0, {0, 1});
  checker.see_damaged();
  EXPECT_EQ(checker.damaged(), 1U);
  EXPECT_EQ(checker.missing(3), 0U);
}

}  // namespace
}  // namespace tapir::bench
