// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "net/frame_counters.h"
#include "net/mac_address.h"
#include "virtio/net_queue_pair.h"

namespace tapir::vmm {

/// What a NIC has done, for whoever asks: SIGUSR1, or a monitor. The counters are borrowed and go on
/// counting.
struct NicStatistics {
  struct Pair {
    const virtio::NetQueuePair::Counters* device;  ///< since the guest was last started
    const net::FrameIoCounters* host;              ///< since tapir was started
  };
  std::string name;       ///< its id, or "virtio-net-pci.0"
  std::string peer;       ///< the id of its netdev, "hub 0", or empty
  std::string interface;  ///< of its tap, empty if it has none of its own
  net::MacAddress mac;    ///< at power-on
  bool link_up = true;
  std::vector<Pair> pairs;  ///< of virtqueues; the first has the control virtqueue
};

}  // namespace tapir::vmm
