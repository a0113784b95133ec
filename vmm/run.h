// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "net/base/result.h"
#include "vmm/machine_config.h"

namespace tapir::vmm {

/// Runs the guest until it is done, through its reboots, and returns tapir's exit status (exit_status.h).
/// Takes over the calling thread as the control thread: the terminal, the signals and the timers are served
/// there.
///
/// SIGINT, SIGTERM and SIGHUP end the guest at once; SIGPWR presses its power button; SIGUSR1 prints the
/// NICs' statistics on stderr (json_statistics()); SIGTSTP and SIGCONT give the terminal back and take it
/// again. Error: the guest could not be run, in one sentence.
[[nodiscard]] Result<int> run_guest(const MachineConfig& config);

/// Writes the report of a run that could not begin; to an empty path nothing.
void report_failure(const std::string& path, const std::string& sentence);

}  // namespace tapir::vmm
