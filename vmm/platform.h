// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

/// Where things are on the machine that the guest sees. ACPI tables, e820, devices and KVM set-up all read it
/// here, so that they cannot disagree.
namespace tapir::vmm::platform {

// Guest-physical memory. RAM ends at virtio::GuestMemory::kHoleStart (3 GiB) and goes on at 4 GiB.
inline constexpr std::uint64_t kPciWindowBase = 0xC000'0000;  ///< 32-bit BARs
inline constexpr std::uint64_t kPciWindowBytes = 0x2000'0000;
inline constexpr std::uint64_t kEcamBase = 0xE000'0000;  ///< bus 0 only
inline constexpr std::uint64_t kEcamBytes = 0x10'0000;
inline constexpr std::uint64_t kVirtioMmioBase = 0xE100'0000;  ///< one page each
inline constexpr std::uint64_t kVirtioMmioBytes = 0x1000;
inline constexpr std::uint64_t kIoApicBase = 0xFEC0'0000;
inline constexpr std::uint64_t kLocalApicBase = 0xFEE0'0000;
inline constexpr std::uint64_t kIdentityMapBase = 0xFEFF'C000;  ///< KVM_SET_IDENTITY_MAP_ADDR, one page
inline constexpr std::uint64_t kTssBase = 0xFEFF'D000;          ///< KVM_SET_TSS_ADDR, three pages

// Legacy area. ACPI tables live in the reserved BIOS area, where the RSDP is looked for.
inline constexpr std::uint64_t kExtendedBiosArea = 0x9'FC00;  ///< end of conventional RAM in e820
inline constexpr std::uint64_t kAcpiTablesBase = 0xE'0000;    ///< RSDP first
inline constexpr std::uint64_t kAcpiTablesBytes = 0x2'0000;

// I/O ports.
inline constexpr std::uint16_t kCom1Port = 0x3F8;
inline constexpr std::uint16_t kRtcPort = 0x70;  ///< index and data
inline constexpr std::uint16_t kI8042DataPort = 0x60;
inline constexpr std::uint16_t kI8042CommandPort = 0x64;
inline constexpr std::uint16_t kPm1EventPort = 0x600;    ///< PM1a status and enable, 4 bytes
inline constexpr std::uint16_t kPm1ControlPort = 0x604;  ///< PM1a control, 2 bytes
inline constexpr std::uint16_t kPmTimerPort = 0x608;     ///< 32-bit counter, 3.579545 MHz
inline constexpr std::uint16_t kPvpanicPort = 0x505;
inline constexpr std::uint16_t kTapirExitPort = 0x508;   ///< where -device tapir-exit is by default
inline constexpr std::uint16_t kPciAddressPort = 0xCF8;  ///< 4 bytes, data at 0xCFC
inline constexpr std::uint16_t kPciDataPort = 0xCFC;
inline constexpr std::uint16_t kResetPort = 0xCF9;  ///< inside the above: byte accesses only
inline constexpr std::uint8_t kSleepTypeS5 = 5;     ///< SLP_TYP of \_S5

// Global system interrupts. 0-15 are the ISA lines; the KVM default routing sends GSI n to IOAPIC pin n, and
// GSI 0 (the PIT) is moved to pin 2 by our routing, as the MADT's override says.
inline constexpr unsigned kKeyboardGsi = 1;
inline constexpr unsigned kCom1Gsi = 4;
inline constexpr unsigned kRtcGsi = 8;
inline constexpr unsigned kSciGsi = 9;  ///< level, active high
inline constexpr unsigned kPciIntxGsiBase = 16;
inline constexpr unsigned kPciIntxGsis = 4;
inline constexpr unsigned kIoApicPins = 24;
inline constexpr unsigned kFirstMsiGsi = 24;  ///< GSIs from here on are MSI routes of our own

/// The GSI of interrupt pin 1 (INTA#) to 4 of the device in `slot` of bus 0; what _PRT says.
constexpr unsigned pci_intx_gsi(unsigned slot, unsigned pin) {
  return kPciIntxGsiBase + (slot + pin - 1) % kPciIntxGsis;
}

/// The GSIs that virtio-mmio devices take in turn (edge, active high; shared from the tenth device on).
inline constexpr unsigned kVirtioMmioGsis[] = {20, 21, 22, 23, 5, 10, 11, 6, 7};

inline constexpr unsigned kMaxCpus = 64;

}  // namespace tapir::vmm::platform
