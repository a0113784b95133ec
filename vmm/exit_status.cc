// SPDX-License-Identifier: Apache-2.0
#include "vmm/exit_status.h"

#include "net/base/check.h"

namespace tapir::vmm {

int exit_status(EndReason reason, int signal_number) {
  switch (reason) {
    case EndReason::kPowerOff:
    case EndReason::kReset:
    case EndReason::kQuit:
      return static_cast<int>(ExitStatus::kSuccess);
    case EndReason::kPanic:
      return static_cast<int>(ExitStatus::kPanic);
    case EndReason::kTripleFault:
      return static_cast<int>(ExitStatus::kTripleFault);
    case EndReason::kInternalError:
      return static_cast<int>(ExitStatus::kInternalError);
    case EndReason::kSignal:
      CHECK(signal_number > 0 && signal_number < kSignalBase);
      return kSignalBase + signal_number;
  }
  CHECK(false);
  return static_cast<int>(ExitStatus::kInternalError);
}

}  // namespace tapir::vmm
