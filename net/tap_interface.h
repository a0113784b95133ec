// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "net/base/result.h"

namespace tapir::net {

/// Questions about a network interface of this namespace, and the sentences about a tap that cannot be had.
/// Used by Tap only; stateless, any thread.

bool interface_exists(const std::string& name);
/// SIOCGIFMTU; 0 when there is no such interface.
std::uint16_t interface_mtu(const std::string& name);
/// Sets IFF_UP; needs CAP_NET_ADMIN.
[[nodiscard]] Status bring_interface_up(const std::string& name);
/// Whether the interface behind the tap descriptor `fd` is the one called `name` in this network namespace.
bool is_interface_of(int fd, const std::string& name);
/// Whether the tap behind `fd` is up: a tap is writable only then (drivers/net/tun.c, tun_chr_poll). A
/// macvtap always is.
bool tap_is_up(int fd);
/// IFF_UP and IFF_RUNNING, for which there must be a link, too. False when there is no such interface.
bool interface_is_up(const std::string& name);
bool interface_is_running(const std::string& name);

/// Why TUNSETIFF refused `name`, which did or did not exist before.
Error explain_attach(const std::string& name, bool existed, int code);

}  // namespace tapir::net
