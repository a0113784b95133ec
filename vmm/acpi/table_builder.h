// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace tapir::vmm::acpi {

/// Appends the fields of one ACPI table in their order, little-endian and packed. Example:
///
///     TableBuilder table("MCFG", 1);
///     table.u64(0).u64(kEcamBase);
///     std::vector<std::uint8_t> bytes = std::move(table).finish();   // length and checksum are in
class TableBuilder {
 public:
  /// How wide an access to a register of a generic address may be (ACPI 6.5, 5.2.3.2 "Generic Address
  /// Structure").
  enum class AccessSize : std::uint8_t { kByte = 1, kWord = 2, kDword = 3 };

  /// Writes the header of 5.2.6 "System Description Table Header". `signature` has four characters.
  TableBuilder(std::string_view signature, std::uint8_t revision);

  TableBuilder& u8(std::uint8_t value) { return little_endian(value, 1); }
  TableBuilder& u16(std::uint16_t value) { return little_endian(value, 2); }
  TableBuilder& u32(std::uint32_t value) { return little_endian(value, 4); }
  TableBuilder& u64(std::uint64_t value) { return little_endian(value, 8); }
  TableBuilder& zeros(std::size_t bytes);
  TableBuilder& bytes(std::span<const std::uint8_t> content);
  /// A register in I/O space.
  TableBuilder& io_register(std::uint16_t port, unsigned bytes, AccessSize access);
  /// The register that is not there.
  TableBuilder& no_register() { return zeros(12); }

  /// Bytes so far, so that a table can check that a field stands where the specification says.
  std::size_t size() const { return bytes_.size(); }

  /// The table, its length and checksum filled in.
  std::vector<std::uint8_t> finish() &&;

 private:
  TableBuilder& little_endian(std::uint64_t value, unsigned bytes);

  std::vector<std::uint8_t> bytes_;
};

/// The value that makes the bytes and it add up to 0 modulo 256.
std::uint8_t checksum(std::span<const std::uint8_t> bytes);

/// What every table names as its maker: six and eight characters, padded with blanks.
inline constexpr std::string_view kOemId = "TAPIR ";
inline constexpr std::string_view kOemTableId = "TAPIRVMM";

}  // namespace tapir::vmm::acpi
