// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "net/base/result.h"
#include "tools/bench/options.h"

namespace tapir::bench {

/// Does what the options ask for; what is to be printed. Moves the process into a network namespace of its
/// own when something is to be measured. Error: one sentence.
[[nodiscard]] Result<std::string> run_command(const Options& options);

}  // namespace tapir::bench
