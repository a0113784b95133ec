// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "net/base/result.h"
#include "net/base/unique_fd.h"
#include "net/mac_address.h"
#include "net/tap.h"
#include "vmm/broker.h"
#include "vmm/network_config.h"

namespace tapir::vmm {

/// A backend's tap, open and ready, with whatever the end of the run has to do to it known to the broker.
struct HostTap {
  net::Tap tap;
  std::vector<UniqueFd> more_queues;  ///< of the same tap, and detached
};

/// Whether there is something to do when the run is over, so that open_host_tap() needs a broker.
bool needs_broker(const TapConfig& config);

/// Opens the tap, runs its script, brings it up. `mac`: of the NIC, for a bridge helper; unset when there is
/// no one NIC. Its down-script or down-helper goes to `broker`. Error: without the option that asks for it.
/// Control thread.
[[nodiscard]] Result<HostTap> open_host_tap(const TapConfig& config,
                                            const std::optional<net::MacAddress>& mac, Broker* broker);

}  // namespace tapir::vmm
