// SPDX-License-Identifier: Apache-2.0
#include "helper/link_state.h"

#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace tapir::helper {
namespace {

std::optional<bool> flag(const NetlinkAttributes& attributes, std::uint16_t type) {
  const auto value = attributes.get<std::uint8_t>(type);
  return value ? std::optional(*value != 0) : std::nullopt;
}

std::optional<TunState> parse_tun(const NetlinkAttributes& data) {
  const auto type = data.get<std::uint8_t>(IFLA_TUN_TYPE);
  if (!type) {
    return std::nullopt;
  }
  TunState tun;
  tun.owner = data.get<uid_t>(IFLA_TUN_OWNER);
  tun.group = data.get<gid_t>(IFLA_TUN_GROUP);
  tun.is_tap = *type == IFF_TAP;
  tun.persistent = flag(data, IFLA_TUN_PERSIST).value_or(false);
  tun.multi_queue = flag(data, IFLA_TUN_MULTI_QUEUE).value_or(false);
  tun.queues = data.get<std::uint32_t>(IFLA_TUN_NUM_QUEUES).value_or(0);
  tun.disabled_queues = data.get<std::uint32_t>(IFLA_TUN_NUM_DISABLED_QUEUES).value_or(0);
  return tun;
}

LinkState parse_link(const NetlinkLink& link) {
  const NetlinkAttributes attributes = link.attributes();
  LinkState state;
  state.index = link.header().ifi_index;
  state.name = attributes.text(IFLA_IFNAME);
  state.type = link.header().ifi_type;
  state.mtu = attributes.get<std::uint32_t>(IFLA_MTU).value_or(0);
  state.address.octets =
      attributes.get<decltype(state.address.octets)>(IFLA_ADDRESS).value_or(decltype(state.address.octets){});
  state.master = attributes.get<std::int32_t>(IFLA_MASTER).value_or(0);
  const NetlinkAttributes info = attributes.nested(IFLA_LINKINFO);
  const NetlinkAttributes data = info.nested(IFLA_INFO_DATA);
  state.kind = info.text(IFLA_INFO_KIND);
  if (state.kind == "tun") {
    state.tun = parse_tun(data);
  } else if (state.kind == "bridge") {
    state.bridge = BridgeState{.vlan_filtering = flag(data, IFLA_BR_VLAN_FILTERING)};
  }
  if (info.text(IFLA_INFO_SLAVE_KIND) == "bridge") {
    const NetlinkAttributes port = info.nested(IFLA_INFO_SLAVE_DATA);
    state.port = PortState{.learning = flag(port, IFLA_BRPORT_LEARNING),
                           .isolated = flag(port, IFLA_BRPORT_ISOLATED),
                           .locked = flag(port, IFLA_BRPORT_LOCKED)};
  }
  return state;
}

Result<LinkState> ask(Netlink& netlink, NetlinkRequest& request) {
  // Counters are most of an answer and nothing to us.
  request.put(IFLA_EXT_MASK, std::uint32_t{RTEXT_FILTER_SKIP_STATS});
  TAPIR_TRY_ASSIGN(const NetlinkLink link, netlink.get_link(request));
  return parse_link(link);
}

}  // namespace

Result<LinkState> read_link(Netlink& netlink, int index) {
  NetlinkRequest request = NetlinkRequest::for_link(RTM_GETLINK, index);
  return ask(netlink, request);
}

Result<LinkState> find_link(Netlink& netlink, const std::string& name) {
  if (name.empty() || name.size() >= IFNAMSIZ) {
    return fail("no interface can have this name", EINVAL);
  }
  NetlinkRequest request = NetlinkRequest::for_link(RTM_GETLINK, 0);
  request.put_text(IFLA_IFNAME, name);
  return ask(netlink, request);
}

}  // namespace tapir::helper
