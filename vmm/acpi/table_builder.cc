// SPDX-License-Identifier: Apache-2.0
#include "vmm/acpi/table_builder.h"

#include <utility>

#include "net/base/check.h"

namespace tapir::vmm::acpi {
namespace {

constexpr std::size_t kLengthOffset = 4;
constexpr std::size_t kChecksumOffset = 9;
constexpr std::size_t kHeaderBytes = 36;
constexpr std::uint8_t kSystemIoSpace = 1;

std::span<const std::uint8_t> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace

TableBuilder::TableBuilder(std::string_view signature, std::uint8_t revision) {
  CHECK(signature.size() == 4);
  bytes(as_bytes(signature));
  u32(0);  // length, by finish()
  u8(revision);
  u8(0);  // checksum, by finish()
  bytes(as_bytes(kOemId));
  bytes(as_bytes(kOemTableId));
  u32(1);                   // OEM revision
  bytes(as_bytes("TPIR"));  // creator
  u32(1);                   // creator revision
  CHECK(size() == kHeaderBytes);
}

TableBuilder& TableBuilder::zeros(std::size_t bytes) {
  bytes_.insert(bytes_.end(), bytes, 0);
  return *this;
}

TableBuilder& TableBuilder::bytes(std::span<const std::uint8_t> content) {
  bytes_.insert(bytes_.end(), content.begin(), content.end());
  return *this;
}

TableBuilder& TableBuilder::io_register(std::uint16_t port, unsigned bytes, AccessSize access) {
  return u8(kSystemIoSpace)
      .u8(static_cast<std::uint8_t>(8 * bytes))
      .u8(0)
      .u8(static_cast<std::uint8_t>(access))
      .u64(port);
}

TableBuilder& TableBuilder::little_endian(std::uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i) {
    bytes_.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
  }
  return *this;
}

std::vector<std::uint8_t> TableBuilder::finish() && {
  for (unsigned i = 0; i < 4; ++i) {
    bytes_[kLengthOffset + i] = static_cast<std::uint8_t>(bytes_.size() >> (8 * i));
  }
  bytes_[kChecksumOffset] = 0;
  bytes_[kChecksumOffset] = checksum(bytes_);
  return std::move(bytes_);
}

std::uint8_t checksum(std::span<const std::uint8_t> bytes) {
  unsigned sum = 0;
  for (const std::uint8_t byte : bytes) {
    sum += byte;
  }
  return static_cast<std::uint8_t>(0U - sum);
}

}  // namespace tapir::vmm::acpi
