// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "net/base/result.h"
#include "vmm/machine_config.h"

namespace tapir::vmm {

/// Run this guest.
struct RunOptions {
  MachineConfig machine;
  std::vector<std::string> warnings;  ///< sentences for the operator, printed before the guest starts
};
/// Print help_text() (option_table.h) and exit with 0.
struct HelpRequest {};
/// Print version_text() and exit with 0.
struct VersionRequest {};

using Options = std::variant<RunOptions, HelpRequest, VersionRequest>;

/// Reads the command line: QEMU's names and rules, one or two dashes alike. Pure: opens nothing, prints
/// nothing. `argv[0]` is skipped; options act in order, so whatever is wrong before a -help is still told.
/// Memory is 128 MiB and there is one CPU unless said otherwise; without network options there is no NIC.
///
/// Error: one sentence that begins with the option and the argument at fault, for example
/// "-m 0: memory size must be at least 2M; for example -m 256".
[[nodiscard]] Result<Options> parse_options(int argc, const char* const* argv);

}  // namespace tapir::vmm
