// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace tapir::vmm {

/// Why a run of the guest ended; exit_status.h maps it to tapir's exit status.
enum class EndReason : std::uint8_t {
  kPowerOff,       ///< ACPI S5
  kReset,          ///< 0xCF9, ACPI reset register, i8042
  kTripleFault,    ///< KVM_EXIT_SHUTDOWN
  kPanic,          ///< pvpanic, or the panic line on the console
  kInternalError,  ///< KVM_EXIT_INTERNAL_ERROR, FAIL_ENTRY, or an exit that tapir cannot handle
  kGuestStatus,    ///< the guest chose tapir's exit status by an exit device
  kQuit,           ///< the operator: Ctrl-A x
  kSignal,         ///< SIGINT, SIGTERM, SIGHUP
  kExpected,       ///< the console has matched each -expect
  kFailMatched,    ///< the console has matched a -fail
  kExpectMissed,   ///< the guest powered off or reset before the console had matched each -expect
  kTimeLimit,      ///< -time-limit
};

/// How devices and vCPU threads tell the machine that the guest is done. The first call wins, except that a
/// panic is not overtaken by the reset or triple fault that follows it. Any thread; returns at once, the
/// vCPUs stop soon.
class MachineControl {
 public:
  MachineControl() = default;
  MachineControl(const MachineControl&) = delete;
  MachineControl& operator=(const MachineControl&) = delete;
  virtual ~MachineControl() = default;
  /// `detail`: one line for the operator, for kInternalError (exit reason, registers), else empty.
  /// `guest_status`: of kGuestStatus.
  virtual void end(EndReason reason, std::string detail = {}, std::uint8_t guest_status = 0) = 0;
};

}  // namespace tapir::vmm
