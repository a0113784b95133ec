// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "virtio/guest_memory.h"

namespace tapir::vmm::boot {

/// Where the loader puts what a kernel reads before it has memory management of its own: all in conventional
/// memory, below 640 KiB, where no kernel is ever loaded. The page at 0 stays empty.
inline constexpr std::uint64_t kGdtAddress = 0x1000;
inline constexpr std::uint64_t kStartInfoAddress = 0x2000;   ///< PVH: hvm_start_info, module list, memory map
inline constexpr std::uint64_t kSetupDataAddress = 0x3000;   ///< list of setup_data: the RNG seed
inline constexpr std::uint64_t kZeroPageAddress = 0x7000;    ///< struct boot_params
inline constexpr std::uint64_t kStackTop = 0x9000;           ///< one page, grows down
inline constexpr std::uint64_t kPageTablesAddress = 0x9000;  ///< six pages
inline constexpr std::uint64_t kCommandLineAddress = 0x2'0000;
inline constexpr std::uint64_t kCommandLineBytes = 0x1'0000;  ///< with its final zero byte
inline constexpr std::uint64_t kMultibootInfoAddress =
    0x3'0000;  ///< and the lists and texts that it points to
inline constexpr std::uint64_t kMultibootInfoBytes = 0x1'0000;
/// The lowest address that a kernel or an initrd may take.
inline constexpr std::uint64_t kKernelFloor = 0x10'0000;

/// What e820 and PVH's memory map call a range; both use the same numbers (ACPI 6.5, 15 "System Address Map
/// Interfaces").
enum class MemoryType : std::uint32_t { kRam = 1, kReserved = 2 };

struct MemoryRange {
  std::uint64_t start;
  std::uint64_t bytes;
  MemoryType type;
};

/// The guest's memory map, ascending and without overlap: RAM, the BIOS area with the ACPI tables, the ECAM
/// window (without its reservation here Linux does not use MMCONFIG) and the pages that KVM itself takes on
/// Intel hosts. At most 9 ranges.
std::vector<MemoryRange> memory_map(const virtio::GuestMemory& memory);

/// The first address behind the RAM that begins at 0: at most 3 GiB.
std::uint64_t low_memory_end(const virtio::GuestMemory& memory);

}  // namespace tapir::vmm::boot
