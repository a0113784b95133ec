// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmm/machine_control.h"

namespace tapir::vmm {

/// tapir's exit statuses, as the manual lists them.
enum class ExitStatus : int {
  kSuccess = 0,    ///< powered off, reset under -no-reboot, -expect matched, or Ctrl-A x
  kCannotRun = 1,  ///< bad option or host set-up; stderr says which
  kPanic = 4,      ///< pvpanic, or the panic line on the console
  kTripleFault = 6,
  kInternalError = 8,   ///< KVM internal error or an exit that tapir cannot handle
  kNotAsExpected = 10,  ///< -fail matched, or the guest ended before -expect did
  kTimeLimit = 124,     ///< as timeout(1)
};

/// Added to the number of the signal that ended the run, as shells do.
inline constexpr int kSignalBase = 128;

/// The status to exit with after a run. `number`: of EndReason::kSignal the signal's, of
/// EndReason::kGuestStatus the guest's word, from 0 to 255; of no meaning otherwise.
int exit_status(EndReason reason, int number = 0);

}  // namespace tapir::vmm
