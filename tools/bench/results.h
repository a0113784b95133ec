// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "tools/bench/case.h"
#include "tools/bench/statistics.h"

namespace tapir::bench {

/// The percentiles of round trips that are kept.
inline constexpr std::array<double, 8> kPercents{10, 25, 50, 75, 90, 95, 99, 99.9};

/// One measurement of one case.
struct Repetition {
  double ns_per_frame = 0;  ///< of a round trip: its median
  double bytes_per_frame = 0;
  double syscalls_per_frame = 0;
  double interrupts_per_frame = 0;
  double kicks_per_frame = 0;
  double allocations_per_frame = 0;
  std::uint64_t frames = 0;
  std::uint64_t dropped = 0;
  std::array<double, kPercents.size()> percentiles_us{};  ///< all 0 when nothing made round trips

  /// `tally` has at least one frame.
  static Repetition from(Tally tally);
};

/// All measurements of one case.
struct CaseResult {
  std::string name;
  std::string skipped;  ///< why there is no measurement; empty when there are some
  std::vector<Repetition> repetitions;
  std::uint64_t verified_frames = 0;  ///< looked at one by one on the other side, besides those measured

  std::vector<double> each(double Repetition::*figure) const;
  double median(double Repetition::*figure) const { return summarise(each(figure)).median; }
  bool measured() const { return !repetitions.empty(); }
};

/// Cases that were measured in turns, and so may be compared. The first one is the ceiling.
struct GroupResult {
  std::string title;
  bool round_trips = false;  ///< what is measured is latency
  std::vector<CaseResult> cases;

  const CaseResult* find(const std::string& name) const;
  /// How fast `result` is for each 1 of `reference`, in each repetition.
  static std::vector<double> speed_ratios(const CaseResult& result, const CaseResult& reference);
};

/// A whole run.
struct RunResult {
  std::string version;  ///< of tapir
  std::string kernel;   ///< uname -r
  std::string cpu;
  bool goals = false;  ///< these are the groups of goal_groups()
  std::vector<GroupResult> groups;

  const GroupResult* find(const std::string& title) const;
};

}  // namespace tapir::bench
