// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <net/if.h>

#include <cstddef>
#include <string_view>

#include "net/base/result.h"

namespace tapir::net {

/// The longest name that an interface can have; the kernel's room for it (IFNAMSIZ) includes a final zero.
inline constexpr std::size_t kMaxInterfaceNameBytes = IFNAMSIZ - 1;

/// Checks the name of a network interface, be it a tap or a bridge, by the kernel's rules (net/core/dev.c,
/// dev_valid_name): 1 to 15 bytes, no '/', ':', blank or control character, not "." or ".."; nor '%', which
/// TUNSETIFF takes for a pattern. Error: one sentence that names it. Any thread.
[[nodiscard]] Status check_interface_name(std::string_view name);

}  // namespace tapir::net
