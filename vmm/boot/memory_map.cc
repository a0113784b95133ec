// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/memory_map.h"

#include <algorithm>

#include "vmm/platform.h"

namespace tapir::vmm::boot {
namespace {

constexpr std::uint64_t kConventionalEnd = 0xA'0000;

}  // namespace

std::uint64_t low_memory_end(const virtio::GuestMemory& memory) {
  std::uint64_t end = 0;
  for (const auto& region : memory.regions()) {
    if (to_integer(region.start) == 0) {
      end = region.host.size();
    }
  }
  return end;
}

std::vector<MemoryRange> memory_map(const virtio::GuestMemory& memory) {
  using Type = MemoryType;
  std::vector<MemoryRange> map;
  const std::uint64_t low_end = low_memory_end(memory);
  map.push_back({0, std::min(low_end, platform::kExtendedBiosArea), Type::kRam});
  map.push_back(
      {platform::kExtendedBiosArea, kConventionalEnd - platform::kExtendedBiosArea, Type::kReserved});
  map.push_back({platform::kAcpiTablesBase, platform::kAcpiTablesBytes, Type::kReserved});
  if (low_end > kKernelFloor) {
    map.push_back({kKernelFloor, low_end - kKernelFloor, Type::kRam});
  }
  map.push_back({platform::kEcamBase, platform::kEcamBytes, Type::kReserved});
  // The identity map page and the three TSS pages lie side by side.
  static_assert(platform::kTssBase == platform::kIdentityMapBase + 0x1000);
  map.push_back({platform::kIdentityMapBase, 0x4000, Type::kReserved});
  for (const auto& region : memory.regions()) {
    if (to_integer(region.start) != 0) {
      map.push_back({to_integer(region.start), region.host.size(), Type::kRam});
    }
  }
  return map;
}

}  // namespace tapir::vmm::boot
