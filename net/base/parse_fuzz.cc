// SPDX-License-Identifier: Apache-2.0
// Any text: no crash, and what is accepted means what it says.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "net/base/check.h"
#include "net/base/parse.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A copy of exactly this size, so that reading one byte too far is seen.
  const std::string owned(data, data + size);
  const std::string_view text(owned);

  if (const auto number = tapir::parse_unsigned(text)) {
    CHECK(tapir::parse_unsigned(text, *number) == number);
    CHECK(*number == 0 || !tapir::parse_unsigned(text, *number - 1));
    CHECK(tapir::parse_unsigned(std::to_string(*number)) == number);
    // A number without a suffix is the same size in bytes.
    CHECK(tapir::parse_size(text) == number);
  }
  if (const auto bytes = tapir::parse_size(text, 'M')) {
    CHECK(tapir::parse_size(std::to_string(*bytes) + "b") == bytes);
  }
  static_cast<void>(tapir::parse_bool(text));
  constexpr std::array<std::string_view, 3> kWords{"netdev", "device", "ifname"};
  static_cast<void>(tapir::nearest(text, kWords));
  return 0;
}
