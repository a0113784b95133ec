// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

/// The tables that are plain data, one function each (ACPI 6.5, chapter 5 "ACPI Software Programming Model",
/// but with the lengths and revisions of 6.3). Addresses are guest-physical and below 4 GiB. Internal to
/// vmm/acpi: the machine calls write_tables().
namespace tapir::vmm::acpi {

using Table = std::vector<std::uint8_t>;

inline constexpr std::size_t kRsdpBytes = 36;
inline constexpr std::size_t kFacsBytes = 64;
inline constexpr std::uint64_t kFacsAlignment = 64;

/// Root System Description Pointer, revision 2: only the XSDT, because every system that reads it knows that.
Table make_rsdp(std::uint64_t xsdt);
Table make_xsdt(std::span<const std::uint64_t> tables);
/// Fixed ACPI Description Table: where the PM registers of acpi_pm.h, the SCI and the reset register are.
Table make_fadt(std::uint32_t facs, std::uint32_t dsdt);
/// Firmware ACPI Control Structure: the global lock. No checksum; the guest writes to it.
Table make_facs();
/// Multiple APIC Description Table: local APICs, IOAPIC, the overrides that our GSI routes make true, LINT1
/// NMI.
Table make_madt(unsigned cpus);
/// PCI Express memory-mapped configuration space (PCI Firmware 3.3, 4.1.2 "MCFG Table Description").
Table make_mcfg();

}  // namespace tapir::vmm::acpi
