// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

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
/// isolate: the port is isolated. vlan: that VLAN alone, untagged. lock: the port does not learn, and is
/// locked, so that the bridge drops each frame whose source address is not known to be behind it
/// (br_handle_frame_finish); the guest's address is, by a static entry of the forwarding table, made only if
/// nobody has it, and sticky, so that no other port can take it by using it (br_fdb_update). No frame for an
/// unknown address is flooded to the port, since it has one address only, and that is known.
///
/// The entry alone does not hold against who has the descriptor of another tap: by giving that tap the
/// guest's address (SIOCSIFHWADDR) he has the kernel delete it (br_fdb_changeaddr). So the tap also gets an
/// alternative name that is made of bridge and address (see reservation_name). Interface names are
/// unique in a network namespace, to make one takes CAP_NET_ADMIN, and it goes when the tap does: nobody else
/// gets the address as long as the tap is there.
[[nodiscard]] Status set_options(Netlink& netlink, int tap, int bridge, const PortPolicy& policy,
                                 const std::optional<net::MacAddress>& guest);

/// The alternative name of the tap that has the guest's address on a bridge: "tapir-7-525400000001" for the
/// bridge with ifindex 7. Whatever the VLAN, since a rule may change it while the guest runs. Longer than the
/// 15 bytes of an ordinary name, so that it is nobody's by accident. Pure.
std::string reservation_name(int bridge, const net::MacAddress& guest);

/// Whether the port is what the policy asks: kernels ignore what they do not know.
[[nodiscard]] Status check_port(const PortState& port, const PortPolicy& policy);

}  // namespace tapir::helper
