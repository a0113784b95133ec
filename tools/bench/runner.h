// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "net/base/result.h"
#include "tools/bench/case.h"
#include "tools/bench/results.h"

namespace tapir::bench {

/// A case before it is made.
struct CaseSpec {
  std::string name;
  std::function<Result<std::unique_ptr<Case>>()> make;
  /// Not every kernel has it: it is left out with the reason, when it cannot be made or the kernel refuses
  /// its first calls.
  bool may_be_missing = false;
};

/// Cases to be measured in turns. The first one is the ceiling.
struct GroupSpec {
  std::string title;
  bool round_trips = false;
  std::vector<CaseSpec> cases;
};

/// How long and how often.
struct RunSettings {
  std::chrono::nanoseconds time = std::chrono::seconds(1);  ///< of each case in each repetition
  unsigned repetitions = 5;
  bool show_progress = false;  ///< on stderr
};

/// Measures all cases of all groups: in each repetition the cases of a group run in turns of 50 ms, so that
/// whatever else the machine does meets them all alike. Before its first turn of each repetition a case is
/// verified. Error: a case fails, or loses or disorders a frame that nobody counted as dropped; it names the
/// case.
[[nodiscard]] Result<std::vector<GroupResult>> run_groups(const std::vector<GroupSpec>& groups,
                                                          const RunSettings& settings);

}  // namespace tapir::bench
