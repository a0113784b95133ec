// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmm/byte_registers.h"
#include "vmm/machine_control.h"

namespace tapir::vmm {

/// How a guest says that it panicked: one port (platform::kPvpanicPort), found through ACPI as QEMU0001. A
/// read gives the events that it may write: bit 0, the kernel panicked; bit 1, a crash kernel was loaded and
/// takes over, so the run goes on (QEMU, docs/specs/pvpanic.rst).
class Pvpanic final : public ByteRegisters {
 public:
  explicit Pvpanic(MachineControl& machine) : machine_(machine) {}

 private:
  std::uint8_t read_register(std::uint64_t offset) override;
  void write_register(std::uint64_t offset, std::uint8_t value) override;

  MachineControl& machine_;
};

}  // namespace tapir::vmm
