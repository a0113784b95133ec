// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/cpu_tables.h"

#include <array>
#include <cstdint>

#include "net/base/check.h"
#include "vmm/boot/memory_map.h"

namespace tapir::vmm::boot {
namespace {

using virtio::GuestAddress;

// Segment descriptors (Intel SDM volume 3, 3.4.5 "Segment Descriptors"): base 0, limit 4 GiB, present, ring
// 0. The accessed bit is set already, so that the CPU has no reason to write to the table.
constexpr std::uint64_t kCode64 = 0x00AF'9B00'0000'FFFF;
constexpr std::uint64_t kCode32 = 0x00CF'9B00'0000'FFFF;
constexpr std::uint64_t kData = 0x00CF'9300'0000'FFFF;

// Page table bits (SDM volume 3, 4.5 "4-Level Paging and 5-Level Paging").
constexpr std::uint64_t kPresentWritable = 0x3;
constexpr std::uint64_t kLargePage = 0x80;
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kDirectories = 4;  // 1 GiB each

using Table = std::array<std::uint64_t, 512>;

void write_page_tables(const virtio::GuestMemory& memory) {
  constexpr std::uint64_t kPointers = kPageTablesAddress + kPage;
  constexpr std::uint64_t kFirstDirectory = kPointers + kPage;
  static_assert(kFirstDirectory + kDirectories * kPage <= kCommandLineAddress);

  Table top{};
  top[0] = kPointers | kPresentWritable;
  CHECK(memory.write_object(GuestAddress{kPageTablesAddress}, top));
  Table pointers{};
  for (std::uint64_t i = 0; i < kDirectories; ++i) {
    const std::uint64_t directory_address = kFirstDirectory + i * kPage;
    pointers[i] = directory_address | kPresentWritable;
    Table directory{};
    for (std::uint64_t j = 0; j < directory.size(); ++j) {
      directory[j] = (i << 30U) | (j << 21U) | kLargePage | kPresentWritable;
    }
    CHECK(memory.write_object(GuestAddress{directory_address}, directory));
  }
  CHECK(memory.write_object(GuestAddress{kPointers}, pointers));
}

}  // namespace

void write_cpu_tables(const virtio::GuestMemory& memory, EntryState& entry) {
  const bool long_mode = entry.mode == EntryState::Mode::kLong;
  const std::array<std::uint64_t, 4> gdt = {0, 0, long_mode ? kCode64 : kCode32, kData};
  CHECK(memory.write_object(GuestAddress{kGdtAddress}, gdt));
  entry.gdt_base = kGdtAddress;
  entry.gdt_limit = sizeof gdt - 1;
  entry.stack_pointer = kStackTop;
  if (long_mode) {
    write_page_tables(memory);
    entry.page_tables = kPageTablesAddress;
  }
}

}  // namespace tapir::vmm::boot
