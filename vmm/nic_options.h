// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "vmm/key_value_list.h"
#include "vmm/network_config.h"
#include "vmm/problems.h"

namespace tapir::vmm {

/// What an option says of a network card.
struct NicOption {
  NicConfig nic;                      ///< all but `option` and what it is joined to
  std::optional<std::string> netdev;  ///< unset: the hub of -net, or of -device nothing
};

/// Each reads one form of option with QEMU's names (hw/net/virtio-net.c, net/net.c). Pure. Every problem is
/// added, without the argument in front; the result counts only when none is.

/// `-device DRIVER[,netdev=ID][,mac=MAC][,id=ID]...`.
NicOption parse_device(std::span<const KeyItem> items, Problems& problems);
/// `-net nic[,model=MODEL][,macaddr=MAC][,id=ID][,netdev=ID][,addr=SLOT][,vectors=N]`.
NicOption parse_net_nic(std::span<const KeyItem> items, Problems& problems);
/// The card of `-nic`, whose other keys speak of its backend.
NicConfig parse_nic(std::span<const KeyItem> items, Problems& problems);

/// What -device and -net nic,model=help list.
std::string device_list();
std::string model_list();
/// Whether it is a driver of -device.
bool is_device(std::string_view driver);
/// Whether that driver is on PCI.
bool is_pci_device(std::string_view driver);

}  // namespace tapir::vmm
