// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace tapir::virtio {

/// The value of a guest access of up to 8 bytes. Every register that a guest sees here is little-endian
/// (virtio 1.3, 1.4 Structure Specifications; PCI 3.0, 6.1), and assembling bytes needs no alignment.
inline std::uint64_t load_little_endian(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i > 0; --i) {
    value = (value << 8U) | std::to_integer<std::uint64_t>(bytes[i - 1]);
  }
  return value;
}

/// Fills all of `bytes`: what a value has beyond its 8 bytes is zero, what does not fit is cut off.
inline void store_little_endian(std::uint64_t value, std::span<std::byte> bytes) {
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(value & 0xFFU);
    value >>= 8U;
  }
}

/// Whether [offset, offset + bytes) lies wholly in [start, start + length); no sum can overflow.
constexpr bool lies_within(std::uint64_t offset, std::uint64_t bytes, std::uint64_t start,
                           std::uint64_t length) {
  return offset >= start && offset - start <= length && bytes <= length - (offset - start);
}

}  // namespace tapir::virtio
