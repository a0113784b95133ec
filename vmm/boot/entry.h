// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace tapir::vmm::boot {

/// The state in which the boot CPU starts a loaded kernel. The loader has already written whatever it points
/// to (descriptor table, page tables, boot data) into guest memory; the vCPU code only sets registers.
struct EntryState {
  enum class Mode : std::uint8_t {
    kLong,       ///< 64-bit, paging on (Linux boot protocol, 64-bit BOOT PROTOCOL): RSI = boot_data
    kProtected,  ///< 32-bit, paging off (PVH: EBX = boot_data; multiboot: EAX = magic)
  };
  Mode mode = Mode::kLong;
  std::uint64_t instruction_pointer = 0;
  std::uint64_t boot_data = 0;    ///< zero page, hvm_start_info or multiboot information
  std::uint64_t page_tables = 0;  ///< CR3 in kLong
  std::uint64_t gdt_base = 0;     ///< code selector 0x10, data 0x18 (flat; long or 32-bit as mode says)
  std::uint16_t gdt_limit = 0;
  std::uint64_t stack_pointer = 0;
};

}  // namespace tapir::vmm::boot
