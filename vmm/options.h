// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <variant>
#include <vector>

#include "vmm/machine_config.h"

namespace tapir::vmm {

/// Run this guest.
struct RunOptions {
  MachineConfig machine;
  std::vector<std::string> warnings;  ///< sentences for the operator, printed before the guest starts
  bool dry_run = false;  ///< do not run it, but print command_line_of() (canonical_options.h) and exit with 0
};
/// Print this and exit with 0.
struct PrintRequest {
  std::string text;
};

using Options = std::variant<RunOptions, PrintRequest>;

/// Reads the command line: QEMU's names and rules, one or two dashes alike. Pure: opens nothing, prints
/// nothing. `argv[0]` is skipped; options act in order, so whatever is wrong before a -help is still told.
/// Memory is 128 MiB and there is one CPU unless said otherwise; without network options there is no NIC.
///
/// Error: every problem of the line, at least one. Each is a sentence that begins with the option and the
/// argument at fault, for example "-m 0: memory size must be at least 2M; for example -m 256".
[[nodiscard]] tl::expected<Options, std::vector<std::string>> parse_options(int argc,
                                                                            const char* const* argv);

/// The file of the line's last -report, also of a line that is wrong; empty if there is none.
std::string report_path(int argc, const char* const* argv);

}  // namespace tapir::vmm
