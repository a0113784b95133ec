// SPDX-License-Identifier: Apache-2.0
#include "helper/bridge_port.h"

#include <linux/if_link.h>
#include <net/if.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "helper/port_options.h"

namespace tapir::helper {
namespace {

// As often as this a tap is given up because a stranger had a queue of it. Somebody who does nothing but try
// can get one of a multi-queue tap in that moment, but not this many times in a row.
constexpr int kAttempts = 16;

// As by closing our descriptors, but also when somebody else has one or made the tap persistent.
void remove_tap(Netlink& netlink, const TapDevice& device) {
  const auto link = device.find_any(netlink);
  if (link && link->kind == "tun") {
    NetlinkRequest request = NetlinkRequest::for_link(RTM_DELLINK, link->index);
    static_cast<void>(netlink.change(request));  // fails if it is gone already
  }
}

Result<LinkState> make_exclusive(Netlink& netlink, TapDevice& device, unsigned queues) {
  TAPIR_TRY(device.claim());
  TAPIR_TRY(device.add_queues(queues));
  TAPIR_TRY_ASSIGN(LinkState link, device.find(netlink));
  TAPIR_TRY(device.check(link));
  if (queues > 1) {
    TAPIR_TRY(device.forget_settings());
  }
  return link;
}

Status describe_tap(Netlink& netlink, int tap, const LinkState& bridge, const PortRequest& request,
                    bool ipv6) {
  NetlinkRequest change = NetlinkRequest::for_link(RTM_SETLINK, tap);
  change.put(IFLA_MTU, bridge.mtu);
  change.put_text(IFLA_IFALIAS, "tapir: uid " + std::to_string(request.owner) + " on " + request.bridge);
  if (ipv6) {
    change.nest(IFLA_AF_SPEC, [&change] {
      change.nest(AF_INET6,
                  [&change] { change.put(IFLA_INET6_ADDR_GEN_MODE, std::uint8_t{IN6_ADDR_GEN_MODE_NONE}); });
    });
  }
  return netlink.change(change);
}

// MTU, alias, and no IPv6 address. An interface without IPv6 refuses to be told about it: this kernel has
// none, or the MTU is below IPv6's least.
Status prepare_tap(Netlink& netlink, int tap, const LinkState& bridge, const PortRequest& request) {
  auto done = describe_tap(netlink, tap, bridge, request, true);
  if (!done && (done.error().code() == EAFNOSUPPORT || done.error().code() == EOPNOTSUPP)) {
    done = describe_tap(netlink, tap, bridge, request, false);
  }
  if (!done && done.error().code() == EINVAL) {
    return fail("a tap cannot have its MTU of " + std::to_string(bridge.mtu) +
                    "; set the bridge's to between 68 and 65521",
                EINVAL);
  }
  return done ? done : tl::unexpected(std::move(done).error().with_context("cannot set up the tap"));
}

Status enslave(Netlink& netlink, int tap, const LinkState& bridge) {
  NetlinkRequest request = NetlinkRequest::for_link(RTM_SETLINK, tap);
  request.put(IFLA_MASTER, static_cast<std::uint32_t>(bridge.index));
  auto done = netlink.change(request);
  if (!done && done.error().code() == EXFULL) {
    return fail("it has no port left, since a bridge has 1023 at most; use another bridge", EXFULL);
  }
  return done ? done : tl::unexpected(std::move(done).error().with_context("cannot add the tap to it"));
}

// The access rules are about a name, and all of this is about an ifindex.
Status check_still_named(Netlink& netlink, const LinkState& bridge) {
  const auto now = read_link(netlink, bridge.index);
  if (!now || now->name != bridge.name) {
    return fail("it was renamed or deleted while a tap was added to it; try again", ESTALE);
  }
  return {};
}

Status bring_up(Netlink& netlink, int tap) {
  ifinfomsg header{};
  header.ifi_index = tap;
  header.ifi_flags = IFF_UP;
  header.ifi_change = IFF_UP;
  NetlinkRequest request(RTM_SETLINK, 0, header);
  auto done = netlink.change(request);
  return done ? done : tl::unexpected(std::move(done).error().with_context("cannot bring the tap up"));
}

Result<Port> try_port(const PortRequest& request) {
  TAPIR_TRY_ASSIGN(Netlink netlink, Netlink::open());
  TAPIR_TRY_ASSIGN(const LinkState bridge, find_bridge(netlink, request.bridge));
  TAPIR_TRY(check_options(bridge, request.policy, request.guest_mac));
  TAPIR_TRY_ASSIGN(ExclusiveTap tap, open_tap(netlink, request, bridge));
  TAPIR_TRY(join_bridge(netlink, tap.link.index, bridge, request));
  return Port{std::move(tap.device).take_queues(), tap.link.name, tap.link.index};
}

}  // namespace

Result<LinkState> find_bridge(Netlink& netlink, const std::string& name) {
  auto link = find_link(netlink, name);
  if (!link && link.error().code() != ENODEV && link.error().code() != EINVAL) {
    return tl::unexpected(std::move(link).error().with_context("cannot look at it"));
  }
  if (!link) {
    return fail("there is none of this name; `ip link show type bridge` lists those that are there", ENODEV);
  }
  if (link->kind != "bridge") {
    return fail("this interface is no bridge; `ip link show type bridge` lists those that are there",
                EOPNOTSUPP);
  }
  if (link->name != name) {
    return fail("this is only another name of bridge '" + link->name + "'; use that one", ENODEV);
  }
  return link;
}

Result<ExclusiveTap> open_tap(Netlink& netlink, const PortRequest& request, const LinkState& bridge) {
  TapOptions options{.owner = request.owner, .queues = request.queues, .vnet_header = request.vnet_header};
  if (request.policy.limit) {
    options.limit = TapLimit{.taps = *request.policy.limit, .bridge_index = bridge.index};
  }
  for (int attempt = 1;; ++attempt) {
    TAPIR_TRY_ASSIGN(TapDevice device, TapDevice::create(options));
    auto link = make_exclusive(netlink, device, request.queues);
    if (link) {
      return ExclusiveTap{std::move(device), *std::move(link)};
    }
    remove_tap(netlink, device);
    if (link.error().code() != EBUSY || attempt == kAttempts) {
      return tl::unexpected(link.error());
    }
  }
}

Status join_bridge(Netlink& netlink, int tap, const LinkState& bridge, const PortRequest& request) {
  TAPIR_TRY(prepare_tap(netlink, tap, bridge, request));
  TAPIR_TRY(enslave(netlink, tap, bridge));
  TAPIR_TRY(check_still_named(netlink, bridge));
  TAPIR_TRY(set_options(netlink, tap, bridge.index, request.policy, request.guest_mac));
  return bring_up(netlink, tap);
}

Result<Port> make_port(const PortRequest& request) {
  auto port = try_port(request);
  if (!port) {
    return tl::unexpected(std::move(port).error().with_context("bridge '" + request.bridge + "'"));
  }
  return port;
}

Status hand_over(const Port& port, uid_t owner) {
  return set_tap_owner(port.queues.front().get(), owner);
}

}  // namespace tapir::helper
