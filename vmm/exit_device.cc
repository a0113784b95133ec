// SPDX-License-Identifier: Apache-2.0
#include "vmm/exit_device.h"

#include <algorithm>

namespace tapir::vmm {

void ExitDevice::read(std::uint64_t /*offset*/, std::span<std::byte> into) {
  std::fill(into.begin(), into.end(), std::byte{0});
}

void ExitDevice::write(std::uint64_t /*offset*/, std::span<const std::byte> from) {
  const auto value = std::to_integer<std::uint8_t>(from.front());
  const bool debug_exit = kind_ == ExitDeviceConfig::Kind::kIsaDebugExit;
  machine_.end(EndReason::kGuestStatus, {},
               debug_exit ? static_cast<std::uint8_t>(unsigned{value} << 1U | 1U) : value);
}

}  // namespace tapir::vmm
