// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "helper/link_state.h"
#include "helper/netlink.h"
#include "helper/port_policy.h"
#include "net/base/result.h"
#include "net/mac_address.h"

namespace tapir::helper {

/// What isolate, lock and vlan of a policy mean on a port. Used by make_port only. Errors: the reason and the
/// remedy, without the bridge's name.

/// Whether the bridge can do what the policy asks, and with this guest's address; asked before anything is
/// made.
[[nodiscard]] Status check_options(const LinkState& bridge, const PortPolicy& policy,
                                   const std::optional<net::MacAddress>& guest);

/// Puts the policy, which check_options() has passed, in force on the port with ifindex `tap`, which must not
/// be up yet.
///
/// isolate: the port is isolated. lock: the port does not learn, and is locked, so that the bridge drops each
/// frame whose source address is not known to be behind it (br_handle_frame_finish); the guest's address is,
/// by a static entry of the forwarding table, made only if nobody has it, and sticky, so that no other port
/// can take it by using it (br_fdb_update). vlan: that VLAN alone, untagged.
[[nodiscard]] Status set_options(Netlink& netlink, int tap, const PortPolicy& policy,
                                 const std::optional<net::MacAddress>& guest);

/// Whether the port is what the policy asks: kernels ignore what they do not know.
[[nodiscard]] Status check_port(const PortState& port, const PortPolicy& policy);

}  // namespace tapir::helper
