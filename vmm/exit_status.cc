// SPDX-License-Identifier: Apache-2.0
#include "vmm/exit_status.h"

#include <cstdint>

#include "net/base/check.h"

namespace tapir::vmm {

int exit_status(EndReason reason, int number) {
  switch (reason) {
    case EndReason::kPowerOff:
    case EndReason::kReset:
    case EndReason::kQuit:
    case EndReason::kExpected:
      return static_cast<int>(ExitStatus::kSuccess);
    case EndReason::kPanic:
      return static_cast<int>(ExitStatus::kPanic);
    case EndReason::kTripleFault:
      return static_cast<int>(ExitStatus::kTripleFault);
    case EndReason::kInternalError:
      return static_cast<int>(ExitStatus::kInternalError);
    case EndReason::kFailMatched:
    case EndReason::kExpectMissed:
      return static_cast<int>(ExitStatus::kNotAsExpected);
    case EndReason::kTimeLimit:
      return static_cast<int>(ExitStatus::kTimeLimit);
    case EndReason::kSignal:
      CHECK(number > 0 && number < kSignalBase);
      return kSignalBase + number;
    case EndReason::kGuestStatus:
      CHECK(number >= 0 && number <= UINT8_MAX);
      return number;
  }
  CHECK(false);
  return static_cast<int>(ExitStatus::kInternalError);
}

}  // namespace tapir::vmm
