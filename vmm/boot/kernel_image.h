// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <asm/bootparam.h>

#include <cstdint>

#include "net/base/result.h"
#include "virtio/guest_memory.h"
#include "vmm/boot/image_file.h"

namespace tapir::vmm::boot {

/// A kernel that is in guest memory, and what it says about how it wants to be started. Filled by
/// load_bzimage(), load_elf() and load_flat_multiboot().
struct KernelImage {
  enum class Protocol : std::uint8_t {
    kLinux64,    ///< long mode, zero page (Documentation/arch/x86/boot.rst, "64-bit BOOT PROTOCOL")
    kPvh,        ///< 32-bit protected mode, hvm_start_info (xen/include/public/arch-x86/hvm/start_info.h)
    kMultiboot,  ///< 32-bit protected mode, multiboot_info (Multiboot Specification 0.6.96)
  };
  Protocol protocol = Protocol::kLinux64;
  std::uint64_t entry = 0;
  std::uint64_t end = 0;               ///< first byte behind all that it uses until it manages memory itself
  std::uint64_t initrd_limit = 0;      ///< exclusive upper bound of an initrd below the hole
  bool initrd_above_hole = false;      ///< it also takes one above 4 GiB
  std::uint64_t command_line_max = 0;  ///< bytes, without the final zero
  setup_header header{};               ///< for the zero page
};

/// What a kernel without a header of its own is taken to accept: Linux's COMMAND_LINE_SIZE less the final
/// zero.
inline constexpr std::uint64_t kDefaultCommandLineMax = 2047;

/// Whether [start, end) is RAM that a kernel may take. Error: it is below 1 MiB or in the hole, or -m is too
/// small; then the sentence says which -m is enough.
[[nodiscard]] Status check_kernel_fits(const virtio::GuestMemory& memory, const ImageFile& file,
                                       std::uint64_t start, std::uint64_t end);

/// Reads `bytes` at `offset` of the file straight into guest memory. The range must be RAM.
[[nodiscard]] Status read_into_guest(const virtio::GuestMemory& memory, const ImageFile& file,
                                     std::uint64_t offset, std::uint64_t address, std::uint64_t bytes);

}  // namespace tapir::vmm::boot
