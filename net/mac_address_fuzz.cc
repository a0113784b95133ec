// SPDX-License-Identifier: Apache-2.0
// Any text as a MAC address: no crash, and what is accepted prints and parses to the same address.
#include <cstddef>
#include <cstdint>
#include <string>

#include "net/base/check.h"
#include "net/mac_address.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  if (const auto address = tapir::net::MacAddress::parse(text)) {
    CHECK(text.size() >= 11 && text.size() <= 17);
    CHECK(tapir::net::MacAddress::parse(address->to_string()) == address);
  }
  CHECK(tapir::net::MacAddress::from_identity(text) == tapir::net::MacAddress::from_identity(text));
  return 0;
}
