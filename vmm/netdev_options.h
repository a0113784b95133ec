// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/backend_options.h"
#include "vmm/nic_options.h"
#include "vmm/problems.h"

namespace tapir::vmm {

/// A -netdev, -nic, -net or -device, read but not yet joined to others.
struct NetworkItem {
  enum class Kind : std::uint8_t {
    kJsonNetdev,
    kNetdev,
    kNic,     ///< `backend` and `nic`
    kNet,     ///< one of them
    kDevice,  ///< `nic`
  };
  Kind kind = Kind::kNetdev;
  std::string option;  ///< "-netdev tap,id=n0": as given
  std::optional<BackendOption> backend;
  std::optional<NicOption> nic;
};

/// Collects -netdev, -device, -net and -nic as they come:
///
///     NetworkOptions network;
///     network.add_netdev("bridge,id=n0,br=br0", problems);
///     network.add_device("virtio-net-pci,netdev=n0", problems);
///     resolve_network(network.in_order(), …) -> one NicConfig
///
/// Each add function takes the whole argument of its option and adds its problems without that argument (the
/// caller puts it in front); an item with problems is kept where it can be, so that others are not blamed
/// for its absence. Pure: opens nothing.
class NetworkOptions {
 public:
  void add_netdev(std::string_view argument, Problems& problems);
  /// `items`: what the argument says, read.
  void add_device(std::string_view argument, std::span<const KeyItem> items, Problems& problems);
  void add_net(std::string_view argument, Problems& problems);
  void add_nic(std::string_view argument, Problems& problems);

  /// In QEMU's order of initialisation: -netdev in JSON, other -netdev, -nic, -net, -device; those of a kind
  /// as they were given.
  std::vector<NetworkItem> in_order() const;

 private:
  std::vector<NetworkItem> items_;
};

}  // namespace tapir::vmm
