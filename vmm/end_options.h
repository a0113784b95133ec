// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "net/base/result.h"
#include "vmm/machine_config.h"

/// The arguments of the options that say how a run ends, one function each, pure. Errors name the value at
/// fault but not the option.
namespace tapir::vmm {

/// `KEY=VALUE[,KEY=VALUE]...`: reboot=reset|shutdown, shutdown=poweroff|pause,
/// panic=exit-failure|shutdown|pause|none, as QEMU's (qemu-options.hx); its watchdog= is an error.
[[nodiscard]] Status apply_action(MachineConfig& machine, std::string_view argument);
/// `[seconds=]SECONDS[,warn=SECONDS]`.
[[nodiscard]] Status apply_time_limit(MachineConfig& machine, std::string_view argument);
/// A regular expression (console_pattern.h).
[[nodiscard]] Status apply_expect(MachineConfig& machine, std::string_view argument);
[[nodiscard]] Status apply_fail(MachineConfig& machine, std::string_view argument);
/// A path.
[[nodiscard]] Status apply_report(MachineConfig& machine, std::string_view argument);

/// The options, as words, that describe `end` where it is not as by default.
std::vector<std::string> end_words(const EndConfig& end);

}  // namespace tapir::vmm
