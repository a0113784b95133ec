// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/bench/results.h"
#include "tools/bench/runner.h"

namespace tapir::bench {

/// Everything that `tapir-bench goals` measures, with these engines.
std::vector<GroupSpec> goal_groups(const std::vector<std::string>& engines, std::uint64_t frames);

/// One line of what tapir promises.
struct Verdict {
  enum class Outcome : std::uint8_t { kMet, kMissed, kNotMeasured };
  std::string goal;
  Summary value;
  double limit = 0;
  bool at_least = true;  ///< or at most
  Outcome outcome = Outcome::kNotMeasured;
};

/// What a run of goal_groups() says about each promise.
std::vector<Verdict> judge(const RunResult& run, const std::vector<std::string>& engines);

std::string format_verdicts(const std::vector<Verdict>& verdicts);

}  // namespace tapir::bench
