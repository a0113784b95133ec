// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/result.h"
#include "net/base/unique_fd.h"
#include "net/frame_port.h"
#include "net/hub.h"
#include "net/mac_address.h"
#include "virtio/io_thread.h"
#include "vmm/broker.h"
#include "vmm/machine_config.h"

namespace tapir::vmm {

/// A hub with the taps on it.
struct HostHub {
  std::unique_ptr<net::Hub> hub;
  std::vector<net::FramePort> nic_ports;        ///< until a NIC takes them
  std::optional<net::MacAddress> required_mac;  ///< of a macvtap among the taps
};

/// The host's side of a NIC: its tap or its port of a hub, each queue served by an I/O thread of its own.
struct HostNic {
  NicConfig config;
  net::MacAddress mac;
  std::string ifname;                 ///< of its tap, empty if it has none of its own
  std::vector<net::FramePort> ports;  ///< queues of one tap, all but the first detached, until `io` has them
  net::Hub* hub = nullptr;            ///< that the one port belongs to, if it does to one
  std::vector<std::unique_ptr<virtio::IoThread>> io;  ///< of each queue, or without mq=on of the first
};

/// The guest's NICs on the host, in two steps:
///
///     TAPIR_TRY_ASSIGN(HostNetwork network, HostNetwork::open(config));   // one thread, first of all
///     …                                                                  // everything else that can fail
///     TAPIR_TRY(network.start());
///
/// However the object or the process ends after open(), the down-scripts and down-helpers of its taps run: at
/// a normal end while the taps are still there, because the broker goes before them. Control thread.
struct HostNetwork {
  /// Forks the broker (when there is something to do at the end), settles every address, starts bridge
  /// helpers, opens taps and runs their scripts. Error: begins with the option at fault.
  [[nodiscard]] static Result<HostNetwork> open(const MachineConfig& config);
  /// Starts the threads of NICs and hubs.
  [[nodiscard]] Status start();

  std::vector<HostHub> hubs;  ///< those of the configuration, then one for each NIC that has no peer
  std::vector<HostNic> nics;
  std::unique_ptr<Broker> broker;  ///< null when there is nothing to do at the end; after what it outlives
};

/// The address of NIC number `index` when the operator gave none: of a named VM always the same on this host
/// and for this user (a hash of the machine's id, the user, the name and the index), else random.
net::MacAddress default_mac(std::string_view vm_name, unsigned index);

}  // namespace tapir::vmm
