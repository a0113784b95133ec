// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/key_value_list.h"
#include "vmm/network_config.h"
#include "vmm/problems.h"

namespace tapir::vmm {

/// The option that an argument belongs to, on which some rules depend.
enum class NetworkOption : std::uint8_t { kNetdev, kNet, kNic };

/// `hubport,hubid=N[,netdev=ID]`: a place on a hub.
struct HubPortConfig {
  std::int32_t hub_id = 0;
  std::optional<std::string> netdev;  ///< the backend that is joined to it
};

/// What the argument of -netdev, -net or -nic says of a backend.
struct BackendOption {
  std::string id;  ///< empty: none given
  TapConfig tap;   ///< all but `option`; unless it is a hub port
  std::optional<HubPortConfig> hub_port;
  std::vector<std::string> warnings;  ///< keys without effect
};

/// Reads `tap,...`, `bridge,...` and `hubport,...` with QEMU's keys, defaults and rules of combination
/// (net/tap.c, net/hub.c), and the keys `dev`, `queues` of helpers and `down-helper` of tapir's own.
/// `nic_keys` may stand between them and are left to the caller. Adds every problem that there is, without
/// the argument in front; the result counts only when it adds none. Pure.
BackendOption parse_backend(std::span<const KeyItem> items, NetworkOption option,
                            std::span<const KeySpec> nic_keys, Problems& problems);

}  // namespace tapir::vmm
