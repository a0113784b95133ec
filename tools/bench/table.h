// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "tools/bench/results.h"

namespace tapir::bench {

/// The groups as tables for a person: medians, spread, ratio to the ceiling.
std::string format_results(const RunResult& run);

/// What changed from one run to another, for each case that both have.
std::string format_comparison(const RunResult& before, const RunResult& after);

}  // namespace tapir::bench
