// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "net/base/result.h"
#include "tools/bench/groups.h"
#include "tools/bench/runner.h"

namespace tapir::bench {

/// What the command line asks for.
struct Options {
  enum class Mode : std::uint8_t {
    kRaw,
    kDevice,
    kGuest,
    kStream,
    kGoals,
    kReport,
    kCompare,
    kHelp,
    kVersion
  };
  Mode mode = Mode::kHelp;
  Subject subject;
  std::uint64_t frames = 100'000;  ///< that the order test of `goals` and `stream` sends each way
  RunSettings run;
  std::string json_file;  ///< empty: none
  std::string plot_file;
  std::vector<std::string> inputs;  ///< of report one file that --json wrote, of --compare two
};

/// Reads the words after the program's name. Error: names the word and what it may be.
[[nodiscard]] Result<Options> parse_options(const std::vector<std::string>& words);

/// What --help prints.
std::string help_text();

}  // namespace tapir::bench
