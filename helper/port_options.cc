// SPDX-License-Identifier: Apache-2.0
#include "helper/port_options.h"

#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>

namespace tapir::helper {
namespace {

// QEMU's prefix, which all VMs' default addresses have.
constexpr std::array<std::uint8_t, 3> kGuestPrefix{0x52, 0x54, 0x00};
constexpr std::uint16_t kLastVlan = 4094;

Status check_guest_address(const LinkState& bridge, const std::optional<net::MacAddress>& mac) {
  if (!mac) {
    return fail("each guest on it is locked to one address, and this one's is not known; give it with --mac",
                EINVAL);
  }
  const std::string text = mac->to_string();
  if (mac->is_multicast()) {
    return fail("the guest's address " + text + " is a multicast one; give it one that begins with 52:54:00",
                EINVAL);
  }
  if (!std::equal(kGuestPrefix.begin(), kGuestPrefix.end(), mac->octets.begin())) {
    return fail(
        "the guest's address " + text + " is not allowed on it; give it one that begins with 52:54:00",
        EINVAL);
  }
  if (*mac == bridge.address) {
    return fail("the guest's address " + text + " is the bridge's own; give the guest another", EEXIST);
  }
  return {};
}

Status set_flags(Netlink& netlink, int tap, const PortPolicy& policy) {
  NetlinkRequest request = NetlinkRequest::for_link(RTM_SETLINK, tap, AF_BRIDGE);
  request.nest(IFLA_PROTINFO, [&] {
    if (policy.isolate) {
      request.put(IFLA_BRPORT_ISOLATED, std::uint8_t{1});
    }
    if (policy.lock) {
      request.put(IFLA_BRPORT_LEARNING, std::uint8_t{0});
      request.put(IFLA_BRPORT_UNICAST_FLOOD, std::uint8_t{0});
      request.put(IFLA_BRPORT_LOCKED, std::uint8_t{1});
    }
  });
  // A kernel that does not know one of them refuses it, or leaves it out.
  auto done = netlink.change(request);
  if (!done && done.error().code() != EINVAL && done.error().code() != EOPNOTSUPP) {
    return tl::unexpected(std::move(done).error().with_context("cannot set up the port"));
  }
  TAPIR_TRY_ASSIGN(const LinkState now, read_link(netlink, tap));
  return check_port(now.port.value_or(PortState{}), policy);
}

// Adds or removes VLANs `first` to `last` of a port (br_process_vlan_info).
Status change_vlans(Netlink& netlink, std::uint16_t type, int tap, std::uint16_t first, std::uint16_t last,
                    std::uint16_t flags) {
  if (first > last) {
    return {};
  }
  NetlinkRequest request = NetlinkRequest::for_link(type, tap, AF_BRIDGE);
  const auto add = [&request](unsigned info_flags, std::uint16_t vlan) {
    request.put(IFLA_BRIDGE_VLAN_INFO, bridge_vlan_info{static_cast<std::uint16_t>(info_flags), vlan});
  };
  request.nest(IFLA_AF_SPEC, [&] {
    if (first == last) {
      add(flags, first);
    } else {
      add(flags | BRIDGE_VLAN_INFO_RANGE_BEGIN, first);
      add(flags | BRIDGE_VLAN_INFO_RANGE_END, last);
    }
  });
  return netlink.change(request);
}

// A new port has the bridge's default VLAN, which is 1 or what the administrator chose. So all others are
// removed.
Status set_vlan(Netlink& netlink, int tap, std::uint16_t vlan) {
  TAPIR_TRY(
      change_vlans(netlink, RTM_SETLINK, tap, vlan, vlan, BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED));
  TAPIR_TRY(change_vlans(netlink, RTM_DELLINK, tap, 1, static_cast<std::uint16_t>(vlan - 1), 0));
  return change_vlans(netlink, RTM_DELLINK, tap, static_cast<std::uint16_t>(vlan + 1), kLastVlan, 0);
}

// A request that the kernel refuses when somebody has the address.
Status take_address(Netlink& netlink, NetlinkRequest& request, const net::MacAddress& mac,
                    const char* failure) {
  auto done = netlink.change(request);
  if (!done && done.error().code() == EEXIST) {
    return fail(
        "the guest's address " + mac.to_string() +
            " is known there on another port; give the guest another, or end the machine that uses it",
        EEXIST);
  }
  return done ? done : tl::unexpected(std::move(done).error().with_context(failure + mac.to_string()));
}

Status reserve_address(Netlink& netlink, int tap, const std::string& name, const net::MacAddress& mac) {
  ifinfomsg header{};
  header.ifi_index = tap;
  NetlinkRequest request(RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND, header);
  request.nest(IFLA_PROP_LIST, [&] { request.put_text(IFLA_ALT_IFNAME, name); });
  return take_address(netlink, request, mac, "cannot reserve the address ");
}

// Without a VLAN in the policy the kernel makes the entry for all VLANs of the port, and for when the bridge
// does not look at VLANs (br_fdb_add).
Status pin_address(Netlink& netlink, int tap, const net::MacAddress& mac, std::optional<std::uint16_t> vlan) {
  ndmsg header{};
  header.ndm_family = AF_BRIDGE;
  header.ndm_ifindex = tap;
  header.ndm_state = NUD_NOARP;
  header.ndm_flags = NTF_MASTER | NTF_STICKY;
  NetlinkRequest request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL, header);
  request.put(NDA_LLADDR, mac.octets);
  if (vlan) {
    request.put(NDA_VLAN, *vlan);
  }
  return take_address(netlink, request, mac, "cannot lock the port to ");
}

}  // namespace

Status check_options(const LinkState& bridge, const PortPolicy& policy,
                     const std::optional<net::MacAddress>& guest) {
  if (policy.lock) {
    TAPIR_TRY(check_guest_address(bridge, guest));
  }
  if (policy.vlan && !(bridge.bridge && bridge.bridge->vlan_filtering == true)) {
    return fail("taps on it belong to VLAN " + std::to_string(*policy.vlan) +
                    ", but it does not look at VLANs; turn that on with `ip link set " + bridge.name +
                    " type bridge vlan_filtering 1`",
                EINVAL);
  }
  return {};
}

Status check_port(const PortState& port, const PortPolicy& policy) {
  if (policy.isolate && port.isolated != true) {
    return fail(
        "this kernel cannot isolate its ports; Linux 4.18 or later is needed, or a configuration without "
        "`isolate`",
        EOPNOTSUPP);
  }
  if (policy.lock && (port.locked != true || port.learning != false)) {
    return fail(
        "this kernel cannot lock its ports; Linux 5.18 or later is needed, or a configuration without `lock`",
        EOPNOTSUPP);
  }
  return {};
}

std::string reservation_name(int bridge, const net::MacAddress& guest) {
  std::string address = guest.to_string();
  std::erase(address, ':');
  return "tapir-" + std::to_string(bridge) + "-" + address;
}

Status set_options(Netlink& netlink, int tap, int bridge, const PortPolicy& policy,
                   const std::optional<net::MacAddress>& guest) {
  if (policy.vlan) {
    if (auto done = set_vlan(netlink, tap, *policy.vlan); !done) {
      return tl::unexpected(std::move(done).error().with_context("cannot put the tap into VLAN " +
                                                                 std::to_string(*policy.vlan)));
    }
  }
  if (policy.isolate || policy.lock) {
    TAPIR_TRY(set_flags(netlink, tap, policy));
  }
  if (policy.lock) {
    TAPIR_TRY(reserve_address(netlink, tap, reservation_name(bridge, *guest), *guest));
    TAPIR_TRY(pin_address(netlink, tap, *guest, policy.vlan));
  }
  return {};
}

}  // namespace tapir::helper
