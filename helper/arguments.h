// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>
#include <variant>

#include "net/base/result.h"
#include "net/mac_address.h"

namespace tapir::helper {

/// Most queues of one tap: one for each CPU of the largest guest. (The kernel has 256, and passes 253
/// descriptors at once.)
inline constexpr unsigned kMaxQueues = 64;

/// Make a tap on this bridge and pass it on.
struct GrantRequest {
  std::string bridge;   ///< an interface name (is_interface_name)
  int fd = -1;          ///< where the descriptors go; not negative
  unsigned queues = 1;  ///< and descriptors, 1 to kMaxQueues
  bool vnet_header = false;
  std::optional<net::MacAddress> guest_mac;  ///< for bridges that are locked to it
};
/// Print what the rules give to whom: to `user` (a name or number), or to everybody.
struct CheckRequest {
  std::optional<std::string> user;
};
/// Print help_text().
struct HelpRequest {};
/// Print version_text().
struct VersionRequest {};

using Arguments = std::variant<GrantRequest, CheckRequest, HelpRequest, VersionRequest>;

/// Reads the command line, `words` being all of it with the program's name, which is not looked at. QEMU's
/// names:
/// [--use-vnet] --br=BRIDGE --fd=FD in any order, and ours. Strict: nothing unknown, nothing twice, nothing
/// empty, no number but a plain decimal one. Pure. Error: one sentence that names the argument at fault.
[[nodiscard]] Result<Arguments> parse_arguments(std::span<const char* const> words);

std::string help_text();
/// Its first line is "tapir-bridge-helper VERSION", by which tapir knows its own helper.
std::string version_text();

}  // namespace tapir::helper
