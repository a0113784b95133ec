// SPDX-License-Identifier: Apache-2.0
#include "vmm/acpi/fixed_tables.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "net/base/check.h"
#include "vmm/acpi/table_builder.h"
#include "vmm/platform.h"

namespace tapir::vmm::acpi {
namespace {

using AccessSize = TableBuilder::AccessSize;

// Registers of acpi_pm.h, in bytes.
constexpr std::uint8_t kPm1EventBytes = 4;
constexpr std::uint8_t kPm1ControlBytes = 2;
constexpr std::uint8_t kPmTimerBytes = 4;

// FADT, IA-PC Boot Architecture Flags (5.2.9.3).
constexpr std::uint16_t kLegacyDevices = 1U << 0;
constexpr std::uint16_t k8042 = 1U << 1;
constexpr std::uint16_t kVgaNotPresent = 1U << 2;

// FADT, Fixed Feature Flags (table 5.10). The power button is a fixed feature while its flag is clear; the
// sleep button and the RTC's wake-up are not there at all, which is what a set flag without a device says.
constexpr std::uint32_t kWbinvd = 1U << 0;
constexpr std::uint32_t kProcC1 = 1U << 2;
constexpr std::uint32_t kNoFixedSleepButton = 1U << 5;
constexpr std::uint32_t kNoFixedRtc = 1U << 6;
constexpr std::uint32_t kTimerIs32Bit = 1U << 8;
constexpr std::uint32_t kResetRegister = 1U << 10;

constexpr std::uint8_t kResetValue = 0x06;  // full reset, as 0xCF9 wants it
constexpr std::uint8_t kRtcCenturyIndex = 0x32;

// MADT interrupt controller structures (5.2.12) and MPS INTI flags.
constexpr std::uint8_t kLocalApic = 0;
constexpr std::uint8_t kIoApic = 1;
constexpr std::uint8_t kSourceOverride = 2;
constexpr std::uint8_t kLocalApicNmi = 4;
constexpr std::uint8_t kAllProcessors = 0xFF;
constexpr std::uint16_t kConforms = 0;
constexpr std::uint16_t kActiveHighLevel = 0x01 | 0x0C;
constexpr std::uint32_t kPitGsi = 2;

}  // namespace

Table make_rsdp(std::uint64_t xsdt) {
  Table table;
  const auto append = [&table](std::string_view text) {
    table.insert(table.end(), text.begin(), text.end());
  };
  append("RSD PTR ");
  table.push_back(0);  // checksum of the first 20 bytes
  append(kOemId);
  table.push_back(2);               // revision: ACPI 2.0 and later
  table.insert(table.end(), 4, 0);  // no RSDT
  table.push_back(kRsdpBytes);
  table.insert(table.end(), 3, 0);
  for (unsigned i = 0; i < 8; ++i) {
    table.push_back(static_cast<std::uint8_t>(xsdt >> (8 * i)));
  }
  table.insert(table.end(), 4, 0);  // extended checksum, reserved
  CHECK(table.size() == kRsdpBytes);
  table[8] = checksum(std::span(table).first(20));
  table[32] = checksum(table);
  return table;
}

Table make_xsdt(std::span<const std::uint64_t> tables) {
  TableBuilder table("XSDT", 1);
  for (const std::uint64_t address : tables) {
    table.u64(address);
  }
  return std::move(table).finish();
}

Table make_fadt(std::uint32_t facs, std::uint32_t dsdt) {
  using namespace platform;
  TableBuilder table("FACP", 6);
  table.u32(facs).u32(dsdt);
  table.u8(0).u8(0);                     // reserved; no preferred profile
  table.u16(kSciGsi);                    // offset 46
  table.u32(0).u8(0).u8(0).u8(0).u8(0);  // SMI_CMD 0: no SMI, ACPI mode from the start
  CHECK(table.size() == 56);
  table.u32(kPm1EventPort).u32(0).u32(kPm1ControlPort).u32(0).u32(0).u32(kPmTimerPort);
  table.u32(0).u32(0);  // no general-purpose events
  CHECK(table.size() == 88);
  table.u8(kPm1EventBytes).u8(kPm1ControlBytes).u8(0).u8(kPmTimerBytes);
  table.u8(0).u8(0).u8(0).u8(0);           // GPE lengths and base, CST_CNT
  table.u16(101).u16(1001);                // latencies that say: neither C2 nor C3
  table.u16(0).u16(0).u8(0).u8(0);         // flush (WBINVD works instead), duty cycle
  table.u8(0).u8(0).u8(kRtcCenturyIndex);  // no day or month alarm
  CHECK(table.size() == 109);
  table.u16(kLegacyDevices | k8042 | kVgaNotPresent).u8(0);
  table.u32(kWbinvd | kProcC1 | kNoFixedSleepButton | kNoFixedRtc | kTimerIs32Bit | kResetRegister);
  CHECK(table.size() == 116);
  table.io_register(kResetPort, 1, AccessSize::kByte).u8(kResetValue);
  table.u16(0).u8(3);  // no Arm boot flags; minor version of the revision
  // The FACS is named once, in 32 bits, as the specification wants it; the DSDT and the registers are named
  // twice.
  table.u64(0).u64(dsdt);
  CHECK(table.size() == 148);
  table.io_register(kPm1EventPort, kPm1EventBytes, AccessSize::kWord).no_register();
  table.io_register(kPm1ControlPort, kPm1ControlBytes, AccessSize::kWord).no_register();
  table.no_register();  // PM2
  table.io_register(kPmTimerPort, kPmTimerBytes, AccessSize::kDword);
  table.no_register().no_register();  // GPE0, GPE1
  table.no_register().no_register();  // sleep control and status, of hardware-reduced machines only
  table.u64(0);                       // hypervisor vendor identity: none, it tells guests nothing
  CHECK(table.size() == 276);
  return std::move(table).finish();
}

Table make_facs() {
  Table table(kFacsBytes, 0);
  constexpr std::string_view kSignature = "FACS";
  std::copy(kSignature.begin(), kSignature.end(), table.begin());
  table[4] = kFacsBytes;
  table[32] = 2;  // version
  return table;
}

Table make_madt(unsigned cpus) {
  TableBuilder table("APIC", 5);
  table.u32(static_cast<std::uint32_t>(platform::kLocalApicBase)).u32(1);  // the two 8259s are there as well
  for (unsigned cpu = 0; cpu < cpus; ++cpu) {
    const auto id = static_cast<std::uint8_t>(cpu);
    table.u8(kLocalApic).u8(8).u8(id).u8(id).u32(1);  // enabled
  }
  table.u8(kIoApic).u8(12).u8(0).u8(0).u32(static_cast<std::uint32_t>(platform::kIoApicBase)).u32(0);
  table.u8(kSourceOverride).u8(10).u8(0).u8(0).u32(kPitGsi).u16(kConforms);
  table.u8(kSourceOverride).u8(10).u8(0).u8(platform::kSciGsi).u32(platform::kSciGsi).u16(kActiveHighLevel);
  table.u8(kLocalApicNmi).u8(6).u8(kAllProcessors).u16(kConforms).u8(1);
  return std::move(table).finish();
}

Table make_mcfg() {
  TableBuilder table("MCFG", 1);
  table.zeros(8);
  table.u64(platform::kEcamBase).u16(0).u8(0).u8(0).zeros(4);  // segment 0, buses 0 to 0
  return std::move(table).finish();
}

}  // namespace tapir::vmm::acpi
