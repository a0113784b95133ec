// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "vmm/key_value_list.h"
#include "vmm/machine_config.h"
#include "vmm/problems.h"

namespace tapir::vmm {

/// `-device isa-debug-exit[,iobase=PORT][,iosize=N]` and `-device tapir-exit[,iobase=PORT]`.

bool is_exit_device(std::string_view driver);
/// The keys of the driver, which is an exit device's.
std::span<const KeySpec> exit_device_keys(std::string_view driver);
/// Adds the device that the items describe to the machine. Problems, without the argument in front: a key is
/// wrong, or its ports are another device's.
void add_exit_device(MachineConfig& machine, std::span<const KeyItem> items, Problems& problems);
/// The argument that describes it; what is as by default is left out.
std::string exit_device_argument(const ExitDeviceConfig& device);

}  // namespace tapir::vmm
