// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/base/result.h"
#include "vmm/key_value_list.h"
#include "vmm/machine_config.h"

namespace tapir::vmm {

/// What an option says of a network card.
struct NicOption {
  NicConfig nic;                      ///< all but `option` and the backend
  std::optional<std::string> netdev;  ///< unset: the backend comes by another way
};

/// Each reads one form of option with QEMU's names (hw/net/virtio-net.c, net/net.c). Pure. Errors do not
/// repeat the argument.

/// `-device DRIVER,netdev=ID[,mac=MAC][,id=ID]`.
[[nodiscard]] Result<NicOption> parse_device(std::string_view argument);
/// `-net nic[,model=MODEL][,macaddr=MAC][,id=ID][,netdev=ID]`.
[[nodiscard]] Result<NicOption> parse_net_nic(std::string_view argument);

/// The keys of `-nic` that speak of the card, `model` and `mac`; all others speak of its backend.
std::span<const KeySpec> nic_keys();
/// The card of `-nic`, from an argument that was parsed with these keys among others.
[[nodiscard]] Result<NicConfig> parse_nic(const KeyValueList& keys);

}  // namespace tapir::vmm
