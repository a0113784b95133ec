// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "vmm/bus.h"
#include "vmm/machine_control.h"

namespace tapir::vmm {

/// What a vCPU's exits reach; all borrowed.
struct VcpuBuses {
  const Bus& ports;
  const Bus& memory;
  MachineControl& control;
};

enum class AfterExit : std::uint8_t { kRunOn, kStop };

/// Serves the exit that KVM_RUN left in `run`, whose page holds the data of port accesses: port and memory
/// accesses go to the buses, the ends of the guest to the control. `state` says what the processor was doing,
/// and is asked only for the detail of EndReason::kInternalError. vCPU thread of `run`.
AfterExit handle_exit(kvm_run& run, const VcpuBuses& buses, const std::function<std::string()>& state);

/// "KVM internal error, suberror 1 (instruction not emulated)", "KVM cannot enter the guest, hardware reason
/// 0x…" or "exit 5 (KVM_EXIT_HLT), which tapir does not handle".
std::string describe_exit(const kvm_run& run);

/// "KVM_EXIT_IO"; "unnamed" of a reason that tapir's KVM should not have.
std::string_view exit_name(std::uint32_t reason);

/// The registers and the code at RIP on one line; `code` may be empty.
std::string describe_registers(const kvm_regs& regs, const kvm_sregs& sregs, std::span<const std::byte> code);

}  // namespace tapir::vmm
