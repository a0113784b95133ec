// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmm/bus.h"
#include "vmm/machine_config.h"
#include "vmm/machine_control.h"

namespace tapir::vmm {

/// Ports by which a guest ends the run with a status that it chooses. A write of v, of any width, to any of
/// them:
///
///     isa-debug-exit   tapir exits with (v << 1) | 1, cut to a byte, as QEMU does (hw/misc/debugexit.c): odd
///     tapir-exit       tapir exits with the lowest byte of v, which may be 0
///
/// Both read as 0. No state, so any vCPU thread may come at any time.
class ExitDevice final : public BusHandler {
 public:
  ExitDevice(ExitDeviceConfig::Kind kind, MachineControl& machine) : kind_(kind), machine_(machine) {}

  void read(std::uint64_t offset, std::span<std::byte> into) override;
  void write(std::uint64_t offset, std::span<const std::byte> from) override;

 private:
  const ExitDeviceConfig::Kind kind_;
  MachineControl& machine_;
};

}  // namespace tapir::vmm
