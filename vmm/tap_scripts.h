// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "net/base/result.h"
#include "vmm/network_config.h"

namespace tapir::vmm {

/// How long the script that sets a tap up may take before it is killed and the start given up.
inline constexpr std::chrono::seconds kUpScriptLimit{10};

/// The program of `script`, or nothing if there is none to run: so said the operator, or it is the
/// installation's default and not there. A path without a slash is one in the working directory. `option`:
/// "script" or "downscript", for messages. Error: it cannot be run.
[[nodiscard]] Result<std::string> find_script(const ScriptConfig& script, std::string_view option);

/// Runs `program` with `ifname` as its argument and waits for its end, at most `limit`. Error: it failed, and
/// what it said. Control thread.
[[nodiscard]] Status run_up_script(const std::string& program, const std::string& ifname,
                                   std::chrono::seconds limit = kUpScriptLimit);

}  // namespace tapir::vmm
