// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <elf.h>

#include <cstdint>
#include <vector>

#include "net/base/result.h"
#include "vmm/boot/kernel_image.h"

namespace tapir::vmm::boot {

/// The headers of an ELF kernel, of 32 or 64 bits, as the file has them: what they say is checked by
/// loadable_segments().
struct ElfFile {
  bool is_64_bit = true;
  std::uint64_t entry = 0;
  std::uint64_t file_bytes = 0;
  std::vector<Elf64_Phdr> segments;  ///< those of a 32-bit file, widened
};

/// Whether the file begins with the ELF magic.
[[nodiscard]] Result<bool> is_elf(const ImageFile& file);

/// Error: the file is truncated or no x86 executable with a fixed address.
[[nodiscard]] Result<ElfFile> read_elf(const ImageFile& file);

/// The PT_LOAD segments, by physical address. Error: one of them is not in the file or not in RAM, two
/// overlap, or there is none.
[[nodiscard]] Result<std::vector<Elf64_Phdr>> loadable_segments(const virtio::GuestMemory& memory,
                                                                const ImageFile& file, const ElfFile& elf);

/// Puts loadable_segments() at their physical addresses. Memory must read as zero before. Error: the entry,
/// a physical address, is in none of them.
[[nodiscard]] Status load_segments(const virtio::GuestMemory& memory, const ImageFile& file,
                                   const std::vector<Elf64_Phdr>& segments, std::uint64_t entry);

/// Fails unless [offset, offset + bytes) lies in a file of `size` bytes.
[[nodiscard]] Status check_in_file(const ImageFile& file, std::uint64_t size, std::uint64_t offset,
                                   std::uint64_t bytes);

/// "FILE is damaged: WHAT".
tl::unexpected<Error> damaged(const ImageFile& file, std::string_view what);

}  // namespace tapir::vmm::boot
