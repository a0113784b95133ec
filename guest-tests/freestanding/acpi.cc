// SPDX-License-Identifier: Apache-2.0
#include "guest-tests/freestanding/acpi.h"

#include "guest-tests/freestanding/runtime.h"

namespace guest {
namespace {

// Offsets of fields: ACPI 6.5, tables 5.3 (RSDP), 5.4 (header), 5.9 (FADT), and the PCI firmware
// specification (MCFG).
constexpr std::uintptr_t kRsdpXsdt = 24;
constexpr std::uintptr_t kRsdpBytes = 36;
constexpr std::uintptr_t kTableLength = 4;
constexpr std::uintptr_t kTableHeaderBytes = 36;
constexpr std::uintptr_t kFadtDsdt = 40;
constexpr std::uintptr_t kFadtPm1aControl = 64;
constexpr std::uintptr_t kFadtResetRegister = 116;
constexpr std::uintptr_t kFadtResetValue = 128;
constexpr std::uintptr_t kFadtXDsdt = 140;
constexpr std::uintptr_t kMcfgBase = 44;
constexpr std::uint8_t kAddressSpaceIo = 1;

template <typename T>
T field(std::uintptr_t table, std::uintptr_t offset) {
  T value;
  // Tables are packed, so fields lie where they lie.
  auto* to = reinterpret_cast<char*>(&value);
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    to[i] = *reinterpret_cast<const char*>(table + offset + i);
  }
  return value;
}

bool has_signature(std::uintptr_t table, const char* signature) {
  return equal(reinterpret_cast<const char*>(table), signature, length(signature));
}

bool sums_to_zero(std::uintptr_t table, std::uint32_t bytes) {
  std::uint8_t sum = 0;
  for (std::uint32_t i = 0; i < bytes; ++i) {
    sum = static_cast<std::uint8_t>(sum + field<std::uint8_t>(table, i));
  }
  return sum == 0;
}

/// Finds Name(_S5, Package(){x, ...}) by its bytes: NameOp, the name, PackageOp, length, count, first
/// element.
void read_s5(std::uintptr_t dsdt, AcpiTables& tables) {
  const auto bytes = field<std::uint32_t>(dsdt, kTableLength);
  for (std::uint32_t at = kTableHeaderBytes; at + 10 < bytes; ++at) {
    const std::uintptr_t name = dsdt + at;
    if (!has_signature(name, "_S5_") || field<std::uint8_t>(name, 4) != 0x12) {
      continue;
    }
    const std::uintptr_t element = 5U + 1U + (field<std::uint8_t>(name, 5) >> 6) + 1U;
    const auto first = field<std::uint8_t>(name, element);
    // BytePrefix and a byte, or ZeroOp or OneOp.
    tables.sleep_type_s5 = first == 0x0A ? field<std::uint8_t>(name, element + 1) : first;
    tables.has_s5 = true;
    return;
  }
}

void read_fadt(std::uintptr_t fadt, AcpiTables& tables) {
  tables.pm1a_control = static_cast<std::uint16_t>(field<std::uint32_t>(fadt, kFadtPm1aControl));
  if (field<std::uint8_t>(fadt, kFadtResetRegister) == kAddressSpaceIo) {
    tables.reset_port = static_cast<std::uint16_t>(field<std::uint64_t>(fadt, kFadtResetRegister + 4));
    tables.reset_value = field<std::uint8_t>(fadt, kFadtResetValue);
  }
  std::uint64_t dsdt = field<std::uint64_t>(fadt, kFadtXDsdt);
  if (dsdt == 0) {
    dsdt = field<std::uint32_t>(fadt, kFadtDsdt);
  }
  if (dsdt != 0 && has_signature(dsdt, "DSDT")) {
    read_s5(dsdt, tables);
  }
}

}  // namespace

AcpiTables find_acpi_tables() {
  AcpiTables tables;
  const std::uintptr_t rsdp = start_info().rsdp;
  if (rsdp == 0 || !has_signature(rsdp, "RSD PTR ")) {
    return tables;
  }
  tables.rsdp_valid = sums_to_zero(rsdp, 20) && sums_to_zero(rsdp, kRsdpBytes);
  const auto xsdt = field<std::uint64_t>(rsdp, kRsdpXsdt);
  if (xsdt == 0 || !has_signature(xsdt, "XSDT")) {
    return tables;
  }
  const auto bytes = field<std::uint32_t>(xsdt, kTableLength);
  tables.xsdt_valid = sums_to_zero(xsdt, bytes);
  for (std::uintptr_t at = kTableHeaderBytes; at + 8 <= bytes; at += 8) {
    const auto table = field<std::uint64_t>(xsdt, at);
    ++tables.tables;
    tables.xsdt_valid = tables.xsdt_valid && sums_to_zero(table, field<std::uint32_t>(table, kTableLength));
    if (has_signature(table, "FACP")) {
      read_fadt(table, tables);
    } else if (has_signature(table, "MCFG")) {
      tables.ecam_base = field<std::uint64_t>(table, kMcfgBase);
    }
  }
  return tables;
}

}  // namespace guest
