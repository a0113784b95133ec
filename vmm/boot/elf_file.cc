// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/elf_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace tapir::vmm::boot {
namespace {

constexpr std::uint16_t kMaxSegments = 128;

Elf64_Phdr widened(const Elf64_Phdr& segment) {
  return segment;
}

Elf64_Phdr widened(const Elf32_Phdr& segment) {
  Elf64_Phdr wide{};
  wide.p_type = segment.p_type;
  wide.p_flags = segment.p_flags;
  wide.p_offset = segment.p_offset;
  wide.p_vaddr = segment.p_vaddr;
  wide.p_paddr = segment.p_paddr;
  wide.p_filesz = segment.p_filesz;
  wide.p_memsz = segment.p_memsz;
  wide.p_align = segment.p_align;
  return wide;
}

template <typename FileHeader, typename ProgramHeader>
Result<ElfFile> read_headers(const ImageFile& file, std::uint64_t size, std::uint16_t machine) {
  FileHeader header{};
  TAPIR_TRY(check_in_file(file, size, 0, sizeof header));
  TAPIR_TRY(file.read(0, std::as_writable_bytes(std::span(&header, 1))));
  if (header.e_machine != machine) {
    return fail(
        fmt::format("{} is an ELF file for another machine; tapir starts x86-64 kernels", file.label()));
  }
  if (header.e_type != ET_EXEC) {
    return fail(
        fmt::format("{} is an ELF file but no kernel: it has no fixed address (ET_EXEC)", file.label()));
  }
  if (header.e_phentsize != sizeof(ProgramHeader) || header.e_phnum == 0 || header.e_phnum > kMaxSegments) {
    return damaged(file, fmt::format("{} program headers of {} bytes", header.e_phnum, header.e_phentsize));
  }
  std::vector<ProgramHeader> segments(header.e_phnum);
  const auto bytes = std::as_writable_bytes(std::span(segments));
  TAPIR_TRY(check_in_file(file, size, header.e_phoff, bytes.size()));
  TAPIR_TRY(file.read(header.e_phoff, bytes));
  ElfFile elf;
  elf.is_64_bit = sizeof(FileHeader) == sizeof(Elf64_Ehdr);
  elf.entry = header.e_entry;
  elf.file_bytes = size;
  for (const ProgramHeader& segment : segments) {
    elf.segments.push_back(widened(segment));
  }
  return elf;
}

}  // namespace

tl::unexpected<Error> damaged(const ImageFile& file, std::string_view what) {
  return fail(fmt::format("{} is damaged: {}", file.label(), what));
}

Status check_in_file(const ImageFile& file, std::uint64_t size, std::uint64_t offset, std::uint64_t bytes) {
  if (offset > size || bytes > size - offset) {
    return fail(fmt::format("{} is truncated: {} bytes at {} are beyond its end at {}", file.label(), bytes,
                            offset, size));
  }
  return {};
}

Result<bool> is_elf(const ImageFile& file) {
  TAPIR_TRY_ASSIGN(const std::uint64_t size, file.size());
  if (size < SELFMAG) {
    return false;
  }
  std::array<std::byte, SELFMAG> magic;
  TAPIR_TRY(file.read(0, magic));
  return std::memcmp(magic.data(), ELFMAG, SELFMAG) == 0;
}

Result<ElfFile> read_elf(const ImageFile& file) {
  TAPIR_TRY_ASSIGN(const std::uint64_t size, file.size());
  std::array<std::uint8_t, EI_NIDENT> identification{};
  TAPIR_TRY(check_in_file(file, size, 0, identification.size()));
  TAPIR_TRY(file.read(0, std::as_writable_bytes(std::span(identification))));
  if (identification[EI_DATA] == ELFDATA2LSB && identification[EI_CLASS] == ELFCLASS64) {
    return read_headers<Elf64_Ehdr, Elf64_Phdr>(file, size, EM_X86_64);
  }
  if (identification[EI_DATA] == ELFDATA2LSB && identification[EI_CLASS] == ELFCLASS32) {
    return read_headers<Elf32_Ehdr, Elf32_Phdr>(file, size, EM_386);
  }
  return fail(
      fmt::format("{} is an ELF file for another machine; tapir starts x86-64 kernels", file.label()));
}

Result<std::vector<Elf64_Phdr>> loadable_segments(const virtio::GuestMemory& memory, const ImageFile& file,
                                                  const ElfFile& elf) {
  std::vector<Elf64_Phdr> loaded;
  for (const Elf64_Phdr& segment : elf.segments) {
    if (segment.p_type != PT_LOAD || segment.p_memsz == 0) {
      continue;
    }
    if (segment.p_filesz > segment.p_memsz) {
      return damaged(file, "a segment has more bytes in the file than in memory");
    }
    // A sum that wraps comes out below its start, which is refused as well. Before the place in the file: one
    // that was unpacked ends where the guest's memory would be full.
    TAPIR_TRY(check_kernel_fits(memory, file, segment.p_paddr, segment.p_paddr + segment.p_memsz));
    TAPIR_TRY(check_in_file(file, elf.file_bytes, segment.p_offset, segment.p_filesz));
    loaded.push_back(segment);
  }
  if (loaded.empty()) {
    return fail(fmt::format("{} is an ELF file but no kernel: it has nothing to load", file.label()));
  }
  std::sort(loaded.begin(), loaded.end(),
            [](const Elf64_Phdr& a, const Elf64_Phdr& b) { return a.p_paddr < b.p_paddr; });
  for (std::size_t i = 1; i < loaded.size(); ++i) {
    if (loaded[i].p_paddr < loaded[i - 1].p_paddr + loaded[i - 1].p_memsz) {
      return damaged(file, fmt::format("two segments overlap at {:#x}", loaded[i].p_paddr));
    }
  }
  return loaded;
}

Status load_segments(const virtio::GuestMemory& memory, const ImageFile& file,
                     const std::vector<Elf64_Phdr>& segments, std::uint64_t entry) {
  const bool inside = std::any_of(segments.begin(), segments.end(), [&](const Elf64_Phdr& segment) {
    return entry >= segment.p_paddr && entry - segment.p_paddr < segment.p_memsz;
  });
  if (!inside) {
    return fail(fmt::format(
        "{} is an ELF file but no kernel: its entry {:#x} is not at a physical address that it loads",
        file.label(), entry));
  }
  for (const Elf64_Phdr& segment : segments) {
    TAPIR_TRY(read_into_guest(memory, file, segment.p_offset, segment.p_paddr, segment.p_filesz));
  }
  return {};
}

}  // namespace tapir::vmm::boot
