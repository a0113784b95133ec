// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "net/base/result.h"
#include "vmm/boot/kernel_image.h"

namespace tapir::vmm::boot {

/// A shorter file ends before what is_bzimage() looks at.
inline constexpr std::uint64_t kMinBzImageBytes = 0x206;

/// Whether the file has the boot sector signature and "HdrS" of a Linux x86 kernel.
[[nodiscard]] Result<bool> is_bzimage(const ImageFile& file);

/// Puts the protected-mode part of a bzImage (`vmlinuz`) at its preferred address, for the 64-bit entry
/// (Documentation/arch/x86/boot.rst). Needs boot protocol 2.12 or later (Linux 3.8) and a 64-bit kernel.
/// Memory must read as zero before. Error: the file is truncated, its header contradicts itself, the kernel
/// is too old or of 32 bits, or it does not fit into memory.
[[nodiscard]] Result<KernelImage> load_bzimage(const virtio::GuestMemory& memory, const ImageFile& file);

}  // namespace tapir::vmm::boot
