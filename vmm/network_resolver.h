// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

#include "vmm/netdev_options.h"
#include "vmm/network_config.h"
#include "vmm/problems.h"

namespace tapir::vmm {

/// NICs and hubs with their taps: the network of a MachineConfig.
struct NetworkConfig {
  std::vector<HubConfig> hubs;
  std::vector<NicConfig> nics;

  friend bool operator==(const NetworkConfig&, const NetworkConfig&) = default;
};

/// Joins NICs, backends and hubs by QEMU's rules (net/net.c, net/hub.c), the items in order of
/// initialisation. A backend without an id gets one that nobody has, "net0" and so on, so that it can be told
/// of. A tap that nobody uses is left out, and a hub of one tap and one NIC is no hub.
///
/// Problems, each with the option that it is about in front: something named that is not there, or has two
/// users; an id, slot, boot index or descriptor given twice; a tap of several queues on a hub. Warnings: what
/// has no peer, addresses given twice, keys without effect, queues that no NIC has use for.
NetworkConfig resolve_network(std::span<const NetworkItem> items, Problems& problems,
                              std::vector<std::string>& warnings);

}  // namespace tapir::vmm
