// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "helper/link_state.h"
#include "helper/netlink.h"
#include "helper/port_policy.h"
#include "helper/tap_device.h"
#include "net/base/result.h"
#include "net/base/unique_fd.h"
#include "net/mac_address.h"

namespace tapir::helper {

/// What port to make, after the access rules have said that it may be.
struct PortRequest {
  /// The bridge's name, literally: no alternative name.
  std::string bridge;
  /// The caller's real uid, whose the tap will be.
  uid_t owner = 0;
  /// Queues of the tap, 1 to 256.
  unsigned queues = 1;
  /// Frames carry a vnet header, if this kernel's taps have it.
  bool vnet_header = false;
  /// The guest's address. Only a locked port looks at it.
  std::optional<net::MacAddress> guest_mac;
  PortPolicy policy;
};

/// A port that is up. It is there as long as one of `queues` is open somewhere.
struct Port {
  /// One blocking, close-on-exec descriptor for each queue.
  std::vector<UniqueFd> queues;
  /// The tap's name and ifindex.
  std::string tap;
  int index = 0;
};

/// Makes a tap and a port of the bridge out of it: with an alias that names the caller and the bridge, the
/// bridge's MTU, no IPv6 address, and everything that the policy says in force before the first frame. Needs
/// CAP_NET_ADMIN and a /dev/net/tun that the effective user may open. On failure nothing is left.
///
/// The owner is root, so that nobody else can attach to it, and it ends with this process, until hand_over().
///
/// A bridge that has no address of its own takes that of its lowest port, which only is the tap when there is
/// no other: such a bridge should be given one (ip link set BRIDGE address …).
///
/// Error: a sentence with the bridge's name, the reason and the remedy. Codes of use: ENODEV there is no such
/// bridge; EOPNOTSUPP it is no bridge; EUSERS the limit is reached; ESTALE the bridge was renamed meanwhile.
[[nodiscard]] Result<Port> make_port(const PortRequest& request);

/// Makes the caller the owner of the port's tap. He may attach from now on, so first make the record.
[[nodiscard]] Status hand_over(const Port& port, uid_t owner);

/// The steps of make_port, in this order. Their errors lack the bridge's name.

/// Looks for the bridge and makes sure that it is one.
[[nodiscard]] Result<LinkState> find_bridge(Netlink& netlink, const std::string& name);

/// A tap that nobody but this process has hands on, and what rtnetlink says of it.
struct ExclusiveTap {
  TapDevice device;
  LinkState link;
};
[[nodiscard]] Result<ExclusiveTap> open_tap(Netlink& netlink, const PortRequest& request,
                                            const LinkState& bridge);

/// Makes the tap with the ifindex `tap` a port of the bridge, and brings it up as the last thing. On failure
/// the tap may be a port already; closing it does away with it.
[[nodiscard]] Status join_bridge(Netlink& netlink, int tap, const LinkState& bridge,
                                 const PortRequest& request);

}  // namespace tapir::helper
