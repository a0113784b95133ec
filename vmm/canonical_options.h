// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

#include "vmm/machine_config.h"

namespace tapir::vmm {

/// The options that say the same as the configuration, in the one form that -dry-run prints: of all the lines
/// with this meaning, that with -netdev and -device, and without what is the default. Read again they give
/// the same configuration, but for the texts that are for messages (TapConfig::option, NicConfig::option).
std::vector<std::string> command_line_of(const MachineConfig& machine);

/// Those words as a shell would read them, quoted where needed.
std::string shell_text(std::span<const std::string> words);

}  // namespace tapir::vmm
