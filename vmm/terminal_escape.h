// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace tapir::vmm {

/// Finds the operator's commands in what is typed: Ctrl-A x quits, Ctrl-A h (or ?) helps, Ctrl-A Ctrl-A sends
/// one Ctrl-A, Ctrl-A and anything else is dropped; all as in QEMU. The Ctrl-A may end one call and its
/// letter begin the next.
class EscapeParser {
 public:
  enum class Action : std::uint8_t { kNone, kQuit, kHelp };
  struct Step {
    std::size_t consumed;  ///< of the bytes given; fewer than all only with an action
    Action action;
  };

  static constexpr std::byte kEscape{0x01};
  static constexpr std::string_view kHelp =
      "\nCtrl-A h       this help\nCtrl-A x       quit tapir\nCtrl-A Ctrl-A  send Ctrl-A to the guest\n";

  /// Appends the guest's share of `bytes` to `input`, up to the first action.
  Step feed(std::span<const std::byte> bytes, std::vector<std::byte>& input);

 private:
  bool escaped_ = false;
};

}  // namespace tapir::vmm
