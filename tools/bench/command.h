// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "net/base/result.h"
#include "tools/bench/options.h"

namespace tapir::bench {

/// What a command gives: a text to print, and then perhaps an error of one sentence.
struct Outcome {
  std::string text;
  Status status;
};

/// Does what the options ask for. Moves the process into a network namespace of its own when something is to
/// be measured. What was measured is in the text even if it cannot be written or drawn.
Outcome run_command(const Options& options);

}  // namespace tapir::bench
