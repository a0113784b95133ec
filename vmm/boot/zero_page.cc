// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/zero_page.h"

#include <sys/random.h>

#include <array>
#include <cstddef>

#include "net/base/check.h"
#include "vmm/boot/memory_map.h"

namespace tapir::vmm::boot {
namespace {

using virtio::GuestAddress;

constexpr std::size_t kSeedBytes = 32;      // what Linux's generator is seeded with
constexpr __u8 kLoaderUndefined = 0xFF;     // boot.rst: type_of_loader of a loader without a number
constexpr std::uint32_t kSetupRngSeed = 9;  // SETUP_RNG_SEED, missing in headers before Linux 6.0

/// A struct setup_data with the seed in it (its flexible array member forbids to embed the original).
struct SeedNode {
  std::uint64_t next;
  std::uint32_t type;
  std::uint32_t len;
  std::array<std::byte, kSeedBytes> seed;
};
static_assert(offsetof(SeedNode, type) == offsetof(setup_data, type));
static_assert(offsetof(SeedNode, len) == offsetof(setup_data, len));
static_assert(offsetof(SeedNode, seed) == sizeof(setup_data));

Status write_seed(const virtio::GuestMemory& memory) {
  SeedNode seed{};
  seed.type = kSetupRngSeed;
  seed.len = kSeedBytes;
  ssize_t got = 0;
  do {
    got = ::getrandom(seed.seed.data(), seed.seed.size(), 0);
  } while (got < 0 && errno == EINTR);
  if (got != static_cast<ssize_t>(kSeedBytes)) {
    return fail_errno("getrandom for the guest's seed");
  }
  CHECK(memory.write_object(GuestAddress{kSetupDataAddress}, seed));
  return {};
}

constexpr __u32 low_half(std::uint64_t value) {
  return static_cast<__u32>(value & 0xFFFF'FFFFU);
}
constexpr __u32 high_half(std::uint64_t value) {
  return static_cast<__u32>(value >> 32U);
}

}  // namespace

Status write_zero_page(const virtio::GuestMemory& memory, const setup_header& header, const BootData& data) {
  boot_params page{};
  page.hdr = header;
  page.hdr.type_of_loader = kLoaderUndefined;
  page.hdr.cmd_line_ptr = kCommandLineAddress;
  page.hdr.ramdisk_image = low_half(data.initrd_address);
  page.hdr.ramdisk_size = low_half(data.initrd_bytes);
  page.ext_ramdisk_image = high_half(data.initrd_address);
  page.ext_ramdisk_size = high_half(data.initrd_bytes);
  page.hdr.setup_data = kSetupDataAddress;
  page.acpi_rsdp_addr = data.rsdp_address;

  const std::vector<MemoryRange> map = memory_map(memory);
  CHECK(map.size() <= E820_MAX_ENTRIES_ZEROPAGE);
  for (std::size_t i = 0; i < map.size(); ++i) {
    page.e820_table[i] = {map[i].start, map[i].bytes, static_cast<__u32>(map[i].type)};
  }
  page.e820_entries = static_cast<__u8>(map.size());

  TAPIR_TRY(write_seed(memory));
  CHECK(memory.write_object(GuestAddress{kZeroPageAddress}, page));
  return {};
}

}  // namespace tapir::vmm::boot
