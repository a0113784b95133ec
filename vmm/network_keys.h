// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "vmm/key_spec.h"

namespace tapir::vmm {

/// One kind of argument that -netdev, -net, -nic or -device can have, with its keys in the order of the help.
struct KeyGroup {
  enum class Kind : std::uint8_t { kBackend, kNetNic, kNic, kDevice };
  Kind kind = Kind::kBackend;
  std::string_view name = {};  ///< of a backend its type, of a device its driver
  std::string_view help = {};  ///< what it is: a phrase without a final period
  std::span<const KeySpec> keys = {};
};

/// All of them: the backends tap, bridge and hubport; `-net nic`; what -nic has beside its backend's keys;
/// and the devices, those for the exit status among them.
std::span<const KeyGroup> network_key_groups();

/// The backend of that type, or null.
const KeyGroup* find_backend_keys(std::string_view type);
std::span<const KeySpec> net_nic_keys();
std::span<const KeySpec> nic_keys();
/// Of -device, without what only PCI has when `pci` is false.
std::span<const KeySpec> device_keys(bool pci);

/// QEMU's backends that tapir lacks.
bool is_backend_of_qemu(std::string_view type);

}  // namespace tapir::vmm
