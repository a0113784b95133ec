// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "vmm/acpi/tables.h"

namespace tapir::vmm::acpi {

/// Differentiated System Description Table: the name space of the whole machine. Internal to vmm/acpi.
///
///     \_S5_           soft-off
///     \_SB_.PCI0      host bridge: _CRS, _OSC, _PRT
///     \_SB_.MBRD      motherboard resources (PNP0C02): the ECAM window, PM registers
///     \_SB_.COM1, RTC_, PEVT (pvpanic), Vnnn (virtio-mmio), Cnnn (processors)
///
/// The i8042 has no object: without a mouse port Linux warns about a keyboard-only pair of them, while the
/// 8042 flag of the FADT makes it look at the ports, find the controller, and say nothing.
std::vector<std::uint8_t> make_dsdt(const MachineDescription& machine);

}  // namespace tapir::vmm::acpi
