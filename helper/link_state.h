// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "helper/netlink.h"
#include "net/base/result.h"
#include "net/mac_address.h"

namespace tapir::helper {

/// What drivers/net/tun.c tells of a tun or tap (tun_fill_info, Linux 4.17).
struct TunState {
  /// Unset: anybody may attach. In the reader's user namespace, as uid.
  std::optional<uid_t> owner;
  std::optional<gid_t> group;
  bool is_tap = false;
  bool persistent = false;
  bool multi_queue = false;
  /// Attached descriptors, in use and switched off by TUNSETQUEUE. Only of a multi-queue tap.
  unsigned queues = 0;
  unsigned disabled_queues = 0;
};

/// What net/bridge tells of a bridge.
struct BridgeState {
  /// Unset: this kernel's bridges have no VLANs.
  std::optional<bool> vlan_filtering;
};

/// What net/bridge tells of a port. Unset: this kernel's bridges do not have it.
struct PortState {
  std::optional<bool> learning;
  std::optional<bool> isolated;  ///< Linux 4.18
  std::optional<bool> locked;    ///< Linux 5.18
};

/// An interface at one moment: the kernel describes it under its lock for network configuration (the RTNL),
/// so all of it was true at once. A value.
struct LinkState {
  int index = 0;
  std::string name;
  /// ARPHRD_ETHER and others.
  std::uint16_t type = 0;
  std::uint32_t mtu = 0;
  net::MacAddress address;
  /// The bridge or bond of which it is a port, or 0.
  int master = 0;
  /// "bridge", "tun" and so on; empty for hardware.
  std::string kind;
  std::optional<TunState> tun;
  std::optional<BridgeState> bridge;
  std::optional<PortState> port;
};

/// Looks at the interface with this index. Error code ENODEV: there is none.
[[nodiscard]] Result<LinkState> read_link(Netlink& netlink, int index);

/// Looks at the interface that has this name, or this alternative name, which LinkState::name tells apart.
/// Error code ENODEV: there is none; EINVAL: no interface can have this name (it is empty or longer than 15
/// bytes).
[[nodiscard]] Result<LinkState> find_link(Netlink& netlink, const std::string& name);

}  // namespace tapir::helper
