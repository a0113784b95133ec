// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/memory_map.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "vmm/platform.h"

namespace tapir::vmm::boot {
namespace {

using virtio::GuestMemory;

constexpr std::uint64_t kMiB = 1U << 20U;
constexpr std::uint64_t kGiB = 1U << 30U;

bool reserves(const std::vector<MemoryRange>& map, std::uint64_t start, std::uint64_t bytes) {
  return std::any_of(map.begin(), map.end(), [&](const MemoryRange& range) {
    return range.type == MemoryType::kReserved && start >= range.start &&
           start + bytes <= range.start + range.bytes;
  });
}

TEST(MemoryMapTest, RangesAscendWithoutOverlap) {
  for (const std::uint64_t bytes : {2 * kMiB, 256 * kMiB, 3 * kGiB, 3 * kGiB + 4096, 8 * kGiB}) {
    const GuestMemory memory = GuestMemory::create(bytes).value();
    std::uint64_t end = 0;
    for (const MemoryRange& range : memory_map(memory)) {
      EXPECT_GE(range.start, end) << bytes;
      EXPECT_GT(range.bytes, 0U);
      end = range.start + range.bytes;
    }
  }
}

TEST(MemoryMapTest, AllRamIsThereButTheLegacyArea) {
  for (const std::uint64_t bytes : {256 * kMiB, 8 * kGiB}) {
    const GuestMemory memory = GuestMemory::create(bytes).value();
    std::uint64_t ram = 0;
    for (const MemoryRange& range : memory_map(memory)) {
      ram += range.type == MemoryType::kRam ? range.bytes : 0;
    }
    EXPECT_EQ(ram, bytes - (kKernelFloor - platform::kExtendedBiosArea));
  }
}

TEST(MemoryMapTest, ReservesWhatIsNoRam) {
  const GuestMemory memory = GuestMemory::create(256 * kMiB).value();
  const std::vector<MemoryRange> map = memory_map(memory);
  EXPECT_TRUE(reserves(map, platform::kAcpiTablesBase, platform::kAcpiTablesBytes));
  EXPECT_TRUE(reserves(map, platform::kEcamBase, platform::kEcamBytes));
  EXPECT_TRUE(reserves(map, platform::kIdentityMapBase, 4096));
  EXPECT_TRUE(reserves(map, platform::kTssBase, 3 * 4096));
}

TEST(MemoryMapTest, LowMemoryEndsAtTheHole) {
  EXPECT_EQ(low_memory_end(GuestMemory::create(256 * kMiB).value()), 256 * kMiB);
  EXPECT_EQ(low_memory_end(GuestMemory::create(8 * kGiB).value()), GuestMemory::kHoleStart);
}

}  // namespace
}  // namespace tapir::vmm::boot
