// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "virtio/guest_memory.h"
#include "vmm/boot/zero_page.h"

namespace tapir::vmm::boot {

/// The PVH start information, version 1 (xen/include/public/arch-x86/hvm/start_info.h). Little-endian.
struct HvmStartInfo {
  static constexpr std::uint32_t kMagic = 0x336E'C578;  ///< "xEn3" with the top bit of the E set
  std::uint32_t magic;
  std::uint32_t version;
  std::uint32_t flags;
  std::uint32_t nr_modules;
  std::uint64_t modlist_paddr;
  std::uint64_t cmdline_paddr;
  std::uint64_t rsdp_paddr;
  std::uint64_t memmap_paddr;
  std::uint32_t memmap_entries;
  std::uint32_t reserved;
};
static_assert(sizeof(HvmStartInfo) == 56);

/// A module: the initrd.
struct HvmModule {
  std::uint64_t paddr;
  std::uint64_t size;
  std::uint64_t cmdline_paddr;
  std::uint64_t reserved;
};
static_assert(sizeof(HvmModule) == 32);

struct HvmMemoryMapEntry {
  std::uint64_t addr;
  std::uint64_t size;
  std::uint32_t type;
  std::uint32_t reserved;
};
static_assert(sizeof(HvmMemoryMapEntry) == 24);

/// Writes the start information, its module list and its memory map to kStartInfoAddress. Memory below 1 MiB
/// must be RAM. The protocol has no place for a seed of the guest's random number generator.
void write_start_info(const virtio::GuestMemory& memory, const BootData& data);

}  // namespace tapir::vmm::boot
