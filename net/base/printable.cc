// SPDX-License-Identifier: Apache-2.0
#include "net/base/printable.h"

namespace tapir {

std::string printable(std::string_view text, std::size_t most_bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string line;
  for (const char c : text.substr(0, most_bytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= ' ' && byte <= '~') {
      line += c;
    } else {
      line.append("\\x").append(1, kDigits[byte >> 4U]).append(1, kDigits[byte & 0xFU]);
    }
  }
  if (text.size() > most_bytes) {
    line += "...";
  }
  return line;
}

}  // namespace tapir
