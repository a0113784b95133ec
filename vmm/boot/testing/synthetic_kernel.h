// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <asm/bootparam.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vmm/boot/image_file.h"

/// Kernel files made up for tests: right in every field that a loader reads, with recognisable bytes for
/// code.
namespace tapir::vmm::boot::testing {

using Bytes = std::vector<std::byte>;

/// A bzImage of boot protocol 2.15 that wants to be at 16 MiB. Tests change `header` before build().
class BzImageBuilder {
 public:
  BzImageBuilder();
  setup_header header{};
  /// Bytes of the protected-mode part; the n-th is n modulo 251.
  std::size_t code_bytes = 4096;
  /// Set from code_bytes unless a test chose another.
  std::optional<std::uint32_t> syssize;
  Bytes build() const;
};

/// One program header and the bytes behind it.
struct ElfSegment {
  std::uint32_t type = 1;  ///< PT_LOAD
  std::uint64_t address = 0;
  Bytes content;
  std::uint64_t memory_bytes = 0;  ///< 0: as many as the content has
  std::uint64_t alignment = 4;
};

/// An ELF64 executable for x86-64.
class ElfBuilder {
 public:
  std::uint64_t entry = 0x100'0000;
  std::vector<ElfSegment> segments;
  void add_load(std::uint64_t address, std::size_t bytes, std::uint64_t memory_bytes = 0);
  /// A PT_NOTE segment: a foreign note, then XEN_ELFNOTE_PHYS32_ENTRY with a description of 4 or 8 bytes.
  void add_pvh_note(std::uint64_t pvh_entry, std::size_t description_bytes = 8, std::uint64_t alignment = 4);
  Bytes build() const;
  /// The same as an ELF32 executable for i386.
  Bytes build_32() const;
};

/// A multiboot 1 header: with `addresses` (header, load, end of load, end of BSS, entry) bit 16 is set.
Bytes multiboot_header(std::uint32_t flags, const std::vector<std::uint32_t>& addresses = {});

/// A 32-bit ELF kernel with a multiboot header, loaded to 1 MiB and entered there.
Bytes multiboot_elf_kernel();

/// A kernel without format but with a multiboot header in its 64th byte: 4096 bytes from 2 MiB on, and as
/// many of BSS; entered at its first byte.
Bytes multiboot_flat_kernel();

/// These bytes, compressed.
Bytes gzipped(const Bytes& bytes);
Bytes zstandard(const Bytes& bytes);

/// The n-th byte is n modulo 251.
Bytes pattern(std::size_t bytes);

/// An anonymous file with these bytes.
ImageFile make_file(const Bytes& bytes, std::string label = "-kernel test");

/// Shortens or overwrites a file made by make_file().
void replace_content(int fd, const Bytes& bytes);

}  // namespace tapir::vmm::boot::testing
