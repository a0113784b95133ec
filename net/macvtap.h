// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "net/base/result.h"
#include "net/base/unique_fd.h"
#include "net/mac_address.h"

namespace tapir::net {

/// Taps that have a character device of their own: a macvtap (or ipvtap) sits on top of a network card, and
/// whoever opens its node, /dev/tap and the interface's index, gets its frames. So access is a matter of file
/// permissions alone. Used by Tap; stateless, any thread.
///
/// Source: drivers/net/tap.c, drivers/net/macvtap.c.

/// The node of the macvtap `name`, whether it exists or not. Nothing when no such interface exists or it is
/// no macvtap.
std::optional<std::string> macvtap_node(const std::string& name);

/// Opens the character device `path` of a tap for reading and writing, close-on-exec and non-blocking: a
/// macvtap's, or the tun driver's under another name. Error: what an operator can do about it, or that it is
/// no tap device.
[[nodiscard]] Result<UniqueFd> open_tap_device(const std::string& path);

/// Whether the tap behind `fd` is a macvtap; else it is the tun driver's.
bool is_macvtap(int fd);

/// The address of the tap behind `fd`. A macvtap passes only frames for this one and for groups on to its
/// reader, so a guest has to have it.
[[nodiscard]] Result<MacAddress> tap_address(int fd);

}  // namespace tapir::net
