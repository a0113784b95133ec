// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tapir::net {

/// A 48-bit Ethernet address in the order in which it is sent. A value; any thread.
struct MacAddress {
  std::array<std::uint8_t, 6> octets{};

  /// Six groups of one or two hexadecimal digits between ':' or '-'. Strict: nothing missing, nothing after.
  static std::optional<MacAddress> parse(std::string_view text);
  /// 52:54:00 and three bytes of getrandom(2): QEMU's prefix, locally administered.
  static MacAddress random();
  /// 52:54:00 and three bytes of a hash of `identity` (FNV-1a 64 and a final mix): the same for the same
  /// identity on every host, in every run and every version. Two identities share an address once in 2^24.
  static MacAddress from_identity(std::string_view identity);

  /// "52:54:00:12:34:56".
  std::string to_string() const;
  bool is_multicast() const { return (octets[0] & 1U) != 0; }
  bool is_zero() const { return *this == MacAddress{}; }

  friend bool operator==(const MacAddress&, const MacAddress&) = default;
};

}  // namespace tapir::net
