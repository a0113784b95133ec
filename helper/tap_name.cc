// SPDX-License-Identifier: Apache-2.0
#include "helper/tap_name.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "net/base/check.h"

namespace tapir::helper {
namespace {

constexpr std::string_view kDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
constexpr std::string_view kPrefix = "tp";
constexpr std::size_t kKeyDigits = 11;
constexpr std::size_t kSlotDigits = 2;
constexpr unsigned kIndexBits = 31;

std::string digits(std::uint64_t value, std::size_t count) {
  std::string text(count, kDigits[0]);
  for (std::size_t i = count; i-- > 0; value /= kDigits.size()) {
    text[i] = kDigits[value % kDigits.size()];
  }
  return text;
}

}  // namespace

std::string slot_name(uid_t uid, int bridge_index, unsigned slot) {
  CHECK(bridge_index > 0 && slot < kMaxTapSlots);
  const std::uint64_t key = (std::uint64_t{uid} << kIndexBits) | static_cast<std::uint32_t>(bridge_index);
  return std::string(kPrefix) + digits(key, kKeyDigits) + digits(slot, kSlotDigits);
}

}  // namespace tapir::helper
