// SPDX-License-Identifier: Apache-2.0
#include "virtio/guest_memory.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <random>
#include <string>

namespace tapir::virtio {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kGiB = 1024 * kMiB;

GuestMemory make(std::uint64_t bytes) {
  auto memory = GuestMemory::create(bytes);
  EXPECT_TRUE(memory.has_value()) << (memory ? "" : memory.error().message());
  return *std::move(memory);
}

TEST(GuestMemory, RefusesSizesThatAreNotWholePages) {
  EXPECT_FALSE(GuestMemory::create(0));
  EXPECT_FALSE(GuestMemory::create(1));
  EXPECT_FALSE(GuestMemory::create(kMiB + 512));
}

TEST(GuestMemory, RefusesMoreThanTheHostHasWithTheNumber) {
  const auto memory = GuestMemory::create(std::uint64_t{1} << 50);
  ASSERT_FALSE(memory);
  EXPECT_NE(memory.error().message().find("bytes"), std::string::npos);
  EXPECT_FALSE(GuestMemory::create(UINT64_MAX - 4095));
}

TEST(GuestMemory, ReadsAsZeroAtFirst) {
  const GuestMemory memory = make(kMiB);
  EXPECT_EQ(memory.size(), kMiB);
  EXPECT_EQ(memory.read_object<std::uint64_t>(GuestAddress{0}), 0U);
  EXPECT_EQ(memory.read_object<std::uint64_t>(GuestAddress{kMiB - 8}), 0U);
}

// VQ-02: the last byte works, one past it does not.
TEST(GuestMemory, LastByteIsReachableAndTheNextIsNot) {
  const GuestMemory memory = make(kMiB);
  EXPECT_TRUE(memory.slice(GuestAddress{kMiB - 1}, 1));
  EXPECT_FALSE(memory.slice(GuestAddress{kMiB - 1}, 2));
  EXPECT_FALSE(memory.slice(GuestAddress{kMiB}, 1));
  EXPECT_TRUE(memory.slice(GuestAddress{0}, kMiB));
  EXPECT_FALSE(memory.slice(GuestAddress{0}, kMiB + 1));
}

TEST(GuestMemory, EmptySliceIsAllowedUpToTheEndOfARegion) {
  const GuestMemory memory = make(kMiB);
  ASSERT_TRUE(memory.slice(GuestAddress{kMiB}, 0));
  EXPECT_TRUE(memory.slice(GuestAddress{kMiB}, 0)->empty());
  EXPECT_FALSE(memory.slice(GuestAddress{kMiB + 1}, 0));
}

// VQ-02: address + length wraps around 2^64.
TEST(GuestMemory, RefusesRangesThatWrap) {
  const GuestMemory memory = make(kMiB);
  EXPECT_FALSE(memory.slice(GuestAddress{UINT64_MAX}, 2));
  EXPECT_FALSE(memory.slice(GuestAddress{4096}, UINT64_MAX));
  EXPECT_FALSE(memory.slice(GuestAddress{4096}, UINT64_MAX - 4095));
  EXPECT_FALSE(memory.slice(GuestAddress{UINT64_MAX - 4095}, 4096 + 16));
}

// VQ-02, VQ-22: nothing spans the hole for devices, and nothing is in it.
TEST(GuestMemory, LeavesAHoleBetweenThreeAndFourGiB) {
  const GuestMemory memory = make(4 * kGiB);
  ASSERT_EQ(memory.regions().size(), 2U);
  EXPECT_EQ(memory.regions()[0].host.size(), 3 * kGiB);
  EXPECT_EQ(memory.regions()[1].start, GuestAddress{GuestMemory::kHoleEnd});
  EXPECT_EQ(memory.regions()[1].host.size(), kGiB);

  EXPECT_TRUE(memory.slice(GuestAddress{GuestMemory::kHoleStart - 1}, 1));
  EXPECT_FALSE(memory.slice(GuestAddress{GuestMemory::kHoleStart - 1}, 2));
  EXPECT_FALSE(memory.slice(GuestAddress{GuestMemory::kHoleStart}, 1));
  EXPECT_FALSE(memory.slice(GuestAddress{GuestMemory::kHoleEnd - 1}, 2));
  EXPECT_FALSE(memory.slice(GuestAddress{GuestMemory::kHoleStart - 16}, kGiB + 32));
  EXPECT_TRUE(memory.slice(GuestAddress{GuestMemory::kHoleEnd}, kGiB));
  EXPECT_FALSE(memory.slice(GuestAddress{GuestMemory::kHoleEnd + kGiB}, 1));
}

TEST(GuestMemory, ExactlyThreeGiBIsOneRegion) {
  EXPECT_EQ(make(3 * kGiB).regions().size(), 1U);
}

TEST(GuestMemory, WritesAreReadBackAndRefusedOnesChangeNothing) {
  const GuestMemory memory = make(kMiB);
  EXPECT_TRUE(memory.write_object(GuestAddress{kMiB - 4}, std::uint32_t{0x11223344}));
  EXPECT_EQ(memory.read_object<std::uint32_t>(GuestAddress{kMiB - 4}), 0x11223344U);
  EXPECT_FALSE(memory.write_object(GuestAddress{kMiB - 4}, std::uint64_t{UINT64_MAX}));
  EXPECT_EQ(memory.read_object<std::uint32_t>(GuestAddress{kMiB - 4}), 0x11223344U);
  EXPECT_EQ(memory.read_object<std::uint64_t>(GuestAddress{kMiB - 4}), std::nullopt);
}

TEST(GuestMemory, RegionsAreAlignedForHugePages) {
  const GuestMemory memory = make(3 * kGiB + kMiB);
  for (const GuestMemory::Region& region : memory.regions()) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(region.host.data()) % (2 * kMiB), 0U);
  }
}

/// Asks the kernel instead of touching the page: writing from it fails with EFAULT where it is inaccessible.
bool accessible(const std::byte* address) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe(ends.data()), 0);
  const ssize_t written = ::write(ends[1], address, 1);
  const bool faulted = written < 0 && errno == EFAULT;
  ::close(ends[0]);
  ::close(ends[1]);
  return !faulted;
}

TEST(GuestMemory, GuardPagesAreInaccessible) {
  const GuestMemory memory = make(kMiB);
  std::byte* const ram = memory.regions()[0].host.data();
  EXPECT_TRUE(accessible(ram));
  EXPECT_TRUE(accessible(ram + kMiB - 1));
  EXPECT_FALSE(accessible(ram - 1));
  EXPECT_FALSE(accessible(ram - 4096));
  EXPECT_FALSE(accessible(ram + kMiB));
  EXPECT_FALSE(accessible(ram + kMiB + 4095));
}

TEST(GuestMemory, IsLeftOutOfChildren) {
  const GuestMemory memory = make(kMiB);
  std::byte* const ram = memory.regions()[0].host.data();
  ram[0] = std::byte{1};
  const pid_t child = ::fork();
  if (child == 0) {
    std::array<int, 2> ends{};
    ::_exit(::pipe(ends.data()) == 0 && ::write(ends[1], ram, 1) < 0 && errno == EFAULT ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/// The VmFlags line of /proc/self/smaps for the mapping that begins at `address`.
std::string vm_flags(const std::byte* address) {
  std::array<char, 32> start{};
  std::snprintf(start.data(), start.size(), "%lx-", reinterpret_cast<unsigned long>(address));
  std::ifstream smaps("/proc/self/smaps");
  bool found = false;
  for (std::string line; std::getline(smaps, line);) {
    found = found || line.rfind(start.data(), 0) == 0;
    if (found && line.rfind("VmFlags:", 0) == 0) {
      return line + " ";
    }
  }
  return {};
}

TEST(GuestMemory, IsLeftOutOfCoreDumpsAndReservesNothing) {
  const GuestMemory memory = make(4 * kMiB);
  const std::string flags = vm_flags(memory.regions()[0].host.data());
  if (flags.empty()) {
    GTEST_SKIP() << "/proc/self/smaps has no VmFlags on this host";
  }
  EXPECT_NE(flags.find(" dd "), std::string::npos) << flags;
  EXPECT_NE(flags.find(" dc "), std::string::npos) << flags;
  EXPECT_NE(flags.find(" nr "), std::string::npos) << flags;
}

TEST(GuestMemory, ClearMakesEverythingZeroAgain) {
  GuestMemory memory = make(kMiB);
  ASSERT_TRUE(memory.write_object(GuestAddress{0}, UINT64_MAX));
  ASSERT_TRUE(memory.write_object(GuestAddress{kMiB - 8}, UINT64_MAX));
  ASSERT_TRUE(memory.clear());
  EXPECT_EQ(memory.read_object<std::uint64_t>(GuestAddress{0}), 0U);
  EXPECT_EQ(memory.read_object<std::uint64_t>(GuestAddress{kMiB - 8}), 0U);
  EXPECT_TRUE(memory.write_object(GuestAddress{0}, UINT64_MAX));
}

// MEM-01: random ranges, most of them near an edge, against the two regions written down as numbers.
TEST(GuestMemory, GivesExactlyTheRangesThatLieInOneRegion) {
  const GuestMemory memory = *GuestMemory::create(5 * kGiB);
  const auto inside = [](std::uint64_t address, std::uint64_t bytes) {
    const auto fits = [&](std::uint64_t start, std::uint64_t end) {
      return address >= start && address <= end && bytes <= end - address;
    };
    return fits(0, 3 * kGiB) || fits(4 * kGiB, 6 * kGiB);
  };
  const std::array<std::uint64_t, 8> edges{0,    3 * kGiB,    4 * kGiB,    6 * kGiB,
                                           kGiB, 0x8000'0000, 0xFFFF'FFFF, UINT64_MAX};
  std::mt19937_64 random(5);
  const auto number = [&] {
    const std::uint64_t edge = edges[random() % edges.size()];
    return random() % 4 == 0 ? random() >> (random() % 64) : edge + random() % 64 - 32;
  };
  unsigned accepted = 0;
  for (unsigned i = 0; i < 300'000; ++i) {
    const std::uint64_t address = number();
    const std::uint64_t bytes = random() % 3 == 0 ? number() : random() % 64;
    const auto slice = memory.slice(GuestAddress{address}, bytes);
    ASSERT_EQ(slice.has_value(), inside(address, bytes)) << std::hex << address << "+" << bytes;
    if (slice) {
      const auto& region = memory.regions()[address > 3 * kGiB ? 1 : 0];
      ASSERT_EQ(slice->data(), region.host.data() + (address - to_integer(region.start)));
      ASSERT_EQ(slice->size(), bytes);
      ++accepted;
    }
  }
  EXPECT_GT(accepted, 10'000U);
}

}  // namespace
}  // namespace tapir::virtio
