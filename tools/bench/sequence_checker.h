// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace tapir::bench {

/// Checks that numbered frames arrive in order, each at most once, and how many are missing.
///
///     SequenceChecker checker(first);
///     for (…) { checker.see(number); }
///     if (checker.disordered() != 0 || checker.missing(end) != accounted_for) … it is no good path
class SequenceChecker {
 public:
  explicit SequenceChecker(std::uint64_t first = 0) : next_(first), first_(first) {}

  /// The number of the frame that arrived. One below the highest seen so far, or equal to it, is out of order
  /// (a duplicate is, too).
  void see(std::uint64_t number) {
    if (number < next_) {
      ++disordered_;
      return;
    }
    ++in_order_;
    next_ = number + 1;
  }
  /// A frame arrived whose content is not what was sent.
  void see_damaged() { ++damaged_; }

  std::uint64_t disordered() const { return disordered_; }
  std::uint64_t damaged() const { return damaged_; }
  std::uint64_t arrived() const { return in_order_ + disordered_ + damaged_; }
  /// Frames sent before number `end` of which nothing was seen. Those that came late count as seen.
  std::uint64_t missing(std::uint64_t end) const {
    const std::uint64_t sent = end - first_;
    return sent > arrived() ? sent - arrived() : 0;
  }

 private:
  std::uint64_t next_;
  std::uint64_t first_;
  std::uint64_t in_order_ = 0;
  std::uint64_t disordered_ = 0;
  std::uint64_t damaged_ = 0;
};

}  // namespace tapir::bench
