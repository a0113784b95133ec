// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/base/result.h"
#include "vmm/boot/kernel_image.h"

namespace tapir::vmm::boot {

/// Puts the PT_LOAD segments of an ELF kernel at their physical addresses. A PVH note
/// (XEN_ELFNOTE_PHYS32_ENTRY) makes it a PVH kernel; else a 64-bit file (`vmlinux`) is entered at e_entry in
/// 64-bit mode with the zero page in RSI (in a stock vmlinux: the physical address of startup_64), and a
/// 32-bit one with a multiboot header by that protocol. Memory must read as zero before: what a segment has
/// beyond its file bytes is left alone. Error: the file is truncated, is no x86 executable, its segments
/// overlap or lie outside RAM, or the entry is not in one.
[[nodiscard]] Result<KernelImage> load_elf(const virtio::GuestMemory& memory, const ImageFile& file);

}  // namespace tapir::vmm::boot
