// SPDX-License-Identifier: Apache-2.0
#include "vmm/terminal_escape.h"

#include <utility>

namespace tapir::vmm {

EscapeParser::Step EscapeParser::feed(std::span<const std::byte> bytes, std::vector<std::byte>& input) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::byte byte = bytes[i];
    if (!std::exchange(escaped_, false)) {
      if (byte == kEscape) {
        escaped_ = true;
      } else {
        input.push_back(byte);
      }
      continue;
    }
    switch (std::to_integer<char>(byte)) {
      case '\x01':
        input.push_back(byte);
        break;
      case 'x':
        return {i + 1, Action::kQuit};
      case 'h':
      case '?':
        return {i + 1, Action::kHelp};
      default:
        break;
    }
  }
  return {bytes.size(), Action::kNone};
}

}  // namespace tapir::vmm
