// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/results.h"

#include <algorithm>

#include "net/base/check.h"

namespace tapir::bench {

Repetition Repetition::from(Tally tally) {
  CHECK(tally.frames != 0);
  const auto frames = static_cast<double>(tally.frames);
  const auto per_frame = [frames](std::uint64_t count) { return static_cast<double>(count) / frames; };
  Repetition repetition;
  repetition.frames = tally.frames;
  repetition.dropped = tally.dropped;
  repetition.ns_per_frame = per_frame(tally.nanoseconds);
  repetition.bytes_per_frame = per_frame(tally.bytes);
  repetition.syscalls_per_frame = per_frame(tally.syscalls);
  repetition.interrupts_per_frame = per_frame(tally.interrupts);
  repetition.kicks_per_frame = per_frame(tally.kicks);
  repetition.allocations_per_frame = per_frame(tally.allocations);
  if (!tally.latencies.empty()) {
    std::sort(tally.latencies.begin(), tally.latencies.end());
    for (std::size_t i = 0; i < kPercents.size(); ++i) {
      repetition.percentiles_us[i] = percentile(tally.latencies, kPercents[i]) / 1000.0;
    }
    repetition.ns_per_frame = percentile(tally.latencies, 50);
  }
  return repetition;
}

std::vector<double> CaseResult::each(double Repetition::*figure) const {
  std::vector<double> values;
  for (const Repetition& repetition : repetitions) {
    values.push_back(repetition.*figure);
  }
  return values;
}

const CaseResult* GroupResult::find(const std::string& name) const {
  const auto found =
      std::find_if(cases.begin(), cases.end(), [&](const CaseResult& each) { return each.name == name; });
  return found == cases.end() ? nullptr : &*found;
}

std::vector<double> GroupResult::speed_ratios(const CaseResult& result, const CaseResult& reference) {
  // Less time is more speed.
  return ratios(reference.each(&Repetition::ns_per_frame), result.each(&Repetition::ns_per_frame));
}

const GroupResult* RunResult::find(const std::string& title) const {
  const auto found = std::find_if(groups.begin(), groups.end(),
                                  [&](const GroupResult& each) { return each.title == title; });
  return found == groups.end() ? nullptr : &*found;
}

}  // namespace tapir::bench
