// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "net/base/result.h"
#include "virtio/guest_memory.h"

namespace tapir::vmm::acpi {

/// A virtio-mmio device as the DSDT lists it (LNRO0005). Its interrupt is edge-triggered, active high.
struct VirtioMmioDevice {
  std::uint64_t address = 0;  ///< guest-physical, below 4 GiB; platform::kVirtioMmioBytes long
  unsigned gsi = 0;
};

/// What the tables say beyond vmm/platform.h.
struct MachineDescription {
  unsigned cpus = 1;  ///< 1 to platform::kMaxCpus; the local APIC id of CPU i is i
  bool com1 = true;   ///< false under -serial none
  std::vector<VirtioMmioDevice> virtio_mmio;
};

/// All tables as they must stand at guest-physical `base`: RSDP first, then FACS (aligned to 64 bytes), DSDT,
/// FADT, MADT, MCFG and XSDT, full-hardware ACPI as in ACPI 6.3 (FADT revision 6.3). The guest switches
/// nothing on: SMI_CMD is 0, so the machine is in ACPI mode from the start. `base` is below 4 GiB and a
/// multiple of 64.
std::vector<std::uint8_t> build_tables(std::uint64_t base, const MachineDescription& machine);

/// Writes build_tables() to platform::kAcpiTablesBase, which e820 must show as reserved, and returns the
/// address of the RSDP. Error: the tables do not fit into platform::kAcpiTablesBytes, or the guest has no RAM
/// there.
[[nodiscard]] Result<virtio::GuestAddress> write_tables(const virtio::GuestMemory& memory,
                                                        const MachineDescription& machine);

}  // namespace tapir::vmm::acpi
