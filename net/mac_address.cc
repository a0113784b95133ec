// SPDX-License-Identifier: Apache-2.0
#include "net/mac_address.h"

#include <sys/random.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>

namespace tapir::net {
namespace {

MacAddress with_prefix(std::uint32_t low_bytes) {
  return {{0x52, 0x54, 0x00, static_cast<std::uint8_t>(low_bytes >> 16),
           static_cast<std::uint8_t>(low_bytes >> 8), static_cast<std::uint8_t>(low_bytes)}};
}

// FNV-1a over the bytes, then the finaliser of MurmurHash3 (fmix64): FNV alone leaves the last byte of
// similar names visible in the low bits, and only 24 bits are kept here.
std::uint64_t hash(std::string_view text) {
  std::uint64_t value = 0xCBF2'9CE4'8422'2325;
  for (const char c : text) {
    value = (value ^ static_cast<std::uint8_t>(c)) * 0x0000'0100'0000'01B3;
  }
  value = (value ^ (value >> 33)) * 0xFF51'AFD7'ED55'8CCD;
  value = (value ^ (value >> 33)) * 0xC4CE'B9FE'1A85'EC53;
  return value ^ (value >> 33);
}

}  // namespace

std::optional<MacAddress> MacAddress::parse(std::string_view text) {
  MacAddress address;
  const char* position = text.data();
  const char* const end = text.data() + text.size();
  for (std::size_t i = 0; i < address.octets.size(); ++i) {
    if (i > 0) {
      if (position == end || (*position != ':' && *position != '-')) {
        return std::nullopt;
      }
      ++position;
    }
    // An unsigned type takes no sign, and the value's range holds what a third digit would bring; leading
    // zeros are what is left to refuse.
    const auto [stopped, error] = std::from_chars(position, end, address.octets[i], 16);
    if (error != std::errc{} || stopped - position > 2) {
      return std::nullopt;
    }
    position = stopped;
  }
  return position == end ? std::optional(address) : std::nullopt;
}

MacAddress MacAddress::random() {
  std::uint32_t value = 0;
  ssize_t filled = 0;
  do {
    filled = ::getrandom(&value, sizeof value, 0);
  } while (filled < 0 && errno == EINTR);
  if (filled != sizeof value) {
    // Only a filter on system calls can refuse it. Two machines must still differ; nobody must be unable to
    // guess.
    return from_identity(std::to_string(std::chrono::steady_clock::now().time_since_epoch().count()));
  }
  return with_prefix(value);
}

MacAddress MacAddress::from_identity(std::string_view identity) {
  return with_prefix(static_cast<std::uint32_t>(hash(identity)));
}

std::string MacAddress::to_string() const {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(3 * octets.size());
  for (const std::uint8_t octet : octets) {
    if (!text.empty()) {
      text += ':';
    }
    text += kDigits[octet >> 4];
    text += kDigits[octet & 0xF];
  }
  return text;
}

}  // namespace tapir::net
