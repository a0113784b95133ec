// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/result.h"
#include "vmm/boot/kernel_image.h"

/// Multiboot Specification 0.6.96, which small kernels use: 32-bit protected mode without paging, EAX a magic
/// number, EBX the address of the boot information.
namespace tapir::vmm::boot {

/// 3.1 "OS image format": somewhere in the first 8192 bytes of the file, at a multiple of 4.
struct MultibootHeader {
  std::uint64_t offset = 0;  ///< in the file, of the header itself
  std::uint32_t flags = 0;
  // 3.1.3 "The address fields of Multiboot header", with bit 16 of `flags` only.
  std::uint32_t header_addr = 0;
  std::uint32_t load_addr = 0;
  std::uint32_t load_end_addr = 0;  ///< 0: all of the file
  std::uint32_t bss_end_addr = 0;   ///< 0: none
  std::uint32_t entry_addr = 0;

  /// Bit 16: load by the address fields, whatever the file's format.
  bool has_addresses() const { return (flags & 0x1'0000U) != 0; }
};

/// The header, if the file has one. Error: the file cannot be read.
[[nodiscard]] Result<std::optional<MultibootHeader>> find_multiboot_header(const ImageFile& file);

/// Whether the file has a header of multiboot 2, which tapir does not speak.
[[nodiscard]] Result<bool> is_multiboot2(const ImageFile& file);

/// Error: the header asks for what tapir cannot give (3.1.2 "The magic fields of Multiboot header": bits 0 to
/// 15 that a boot loader does not know are a reason to fail).
[[nodiscard]] Status check_multiboot_header(const ImageFile& file, const MultibootHeader& header);

/// Loads a kernel by the address fields of its header. Memory must read as zero before. Error: the addresses
/// contradict each other or the file, or are not RAM.
[[nodiscard]] Result<KernelImage> load_flat_multiboot(const virtio::GuestMemory& memory,
                                                      const ImageFile& file, const MultibootHeader& header);

/// A file that lies in guest memory for the kernel.
struct MultibootModule {
  std::uint64_t start;
  std::uint64_t bytes;
  std::string text;  ///< its path, and arguments if there are any
};

/// Writes the boot information (3.3 "Boot information format") to kMultibootInfoAddress: memory, command line
/// (which lies at kCommandLineAddress), modules, memory map and tapir's name. Memory below 1 MiB must be RAM.
/// Error: there is no room for all the modules' texts.
[[nodiscard]] Status write_multiboot_info(const virtio::GuestMemory& memory,
                                          const std::vector<MultibootModule>& modules);

}  // namespace tapir::vmm::boot
