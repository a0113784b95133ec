// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmm/byte_registers.h"
#include "vmm/machine_control.h"

namespace tapir::vmm {

/// The reset control register at port 0xCF9 (platform::kResetPort), which the FADT names as its reset
/// register. A write that turns bit 2 (reset CPU) on resets the machine, whatever bit 1 (hard or soft) says:
/// 0x06 and 0x0E are what systems write. The port lies inside those of the PCI configuration mechanism, so
/// the PCI host bridge passes one-byte accesses at 0xCF9 on to this handler.
class ResetPort final : public ByteRegisters {
 public:
  explicit ResetPort(MachineControl& machine) : machine_(machine) {}

 private:
  std::uint8_t read_register(std::uint64_t offset) override;
  void write_register(std::uint64_t offset, std::uint8_t value) override;

  MachineControl& machine_;
  std::uint8_t value_ = 0;
};

}  // namespace tapir::vmm
