// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/pvh.h"

#include "net/base/check.h"
#include "vmm/boot/memory_map.h"

namespace tapir::vmm::boot {

using virtio::GuestAddress;

void write_start_info(const virtio::GuestMemory& memory, const BootData& data) {
  constexpr std::uint64_t kModuleAddress = kStartInfoAddress + sizeof(HvmStartInfo);
  constexpr std::uint64_t kMapAddress = kModuleAddress + sizeof(HvmModule);

  HvmStartInfo info{};
  info.magic = HvmStartInfo::kMagic;
  info.version = 1;
  info.cmdline_paddr = kCommandLineAddress;
  info.rsdp_paddr = data.rsdp_address;
  if (data.initrd_bytes != 0) {
    const HvmModule module{data.initrd_address, data.initrd_bytes, 0, 0};
    CHECK(memory.write_object(GuestAddress{kModuleAddress}, module));
    info.nr_modules = 1;
    info.modlist_paddr = kModuleAddress;
  }

  const std::vector<MemoryRange> map = memory_map(memory);
  std::vector<HvmMemoryMapEntry> entries;
  entries.reserve(map.size());
  for (const MemoryRange& range : map) {
    entries.push_back({range.start, range.bytes, static_cast<std::uint32_t>(range.type), 0});
  }
  const auto bytes = std::as_bytes(std::span<const HvmMemoryMapEntry>(entries));
  CHECK(kMapAddress + bytes.size() <= kSetupDataAddress);
  CHECK(memory.write(GuestAddress{kMapAddress}, bytes));
  info.memmap_paddr = kMapAddress;
  info.memmap_entries = static_cast<std::uint32_t>(entries.size());
  CHECK(memory.write_object(GuestAddress{kStartInfoAddress}, info));
}

}  // namespace tapir::vmm::boot
