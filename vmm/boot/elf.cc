// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/elf.h"

#include <elf.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "vmm/boot/memory_map.h"

namespace tapir::vmm::boot {
namespace {

constexpr std::uint32_t kPhys32EntryNote = 18;  // XEN_ELFNOTE_PHYS32_ENTRY, xen/include/public/elfnote.h
constexpr std::array<char, 4> kXenName = {'X', 'e', 'n', '\0'};
constexpr std::uint16_t kMaxSegments = 128;
constexpr std::uint64_t kMaxNoteBytes = 1U << 20U;
constexpr std::uint32_t kMagic = 0x5372'6448;  // "HdrS", as a bzImage has it: the kernel wants to see it
constexpr std::uint16_t kBootFlag = 0xAA55;

tl::unexpected<Error> damaged(const ImageFile& file, std::string_view what) {
  return fail(fmt::format("{} is damaged: {}", file.label(), what));
}

/// Fails unless [offset, offset + bytes) lies in a file of `size` bytes.
Status check_in_file(const ImageFile& file, std::uint64_t size, std::uint64_t offset, std::uint64_t bytes) {
  if (offset > size || bytes > size - offset) {
    return fail(fmt::format("{} is truncated: {} bytes at {} are beyond its end at {}", file.label(), bytes,
                            offset, size));
  }
  return {};
}

Result<Elf64_Ehdr> read_file_header(const ImageFile& file, std::uint64_t size) {
  Elf64_Ehdr header{};
  TAPIR_TRY(check_in_file(file, size, 0, sizeof header));
  TAPIR_TRY(file.read(0, std::as_writable_bytes(std::span(&header, 1))));
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_machine != EM_X86_64) {
    return fail(
        fmt::format("{} is an ELF file for another machine; tapir starts x86-64 kernels", file.label()));
  }
  if (header.e_type != ET_EXEC) {
    return fail(
        fmt::format("{} is an ELF file but no kernel: it has no fixed address (ET_EXEC)", file.label()));
  }
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 || header.e_phnum > kMaxSegments) {
    return damaged(file, fmt::format("{} program headers of {} bytes", header.e_phnum, header.e_phentsize));
  }
  return header;
}

Result<std::vector<Elf64_Phdr>> read_program_headers(const ImageFile& file, std::uint64_t size,
                                                     const Elf64_Ehdr& header) {
  std::vector<Elf64_Phdr> segments(header.e_phnum);
  const auto bytes = std::as_writable_bytes(std::span(segments));
  TAPIR_TRY(check_in_file(file, size, header.e_phoff, bytes.size()));
  TAPIR_TRY(file.read(header.e_phoff, bytes));
  return segments;
}

/// The segments to load, by address. Everything about them is checked here.
Result<std::vector<Elf64_Phdr>> loadable(const virtio::GuestMemory& memory, const ImageFile& file,
                                         std::uint64_t size, const std::vector<Elf64_Phdr>& segments) {
  std::vector<Elf64_Phdr> loaded;
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_type != PT_LOAD || segment.p_memsz == 0) {
      continue;
    }
    if (segment.p_filesz > segment.p_memsz) {
      return damaged(file, "a segment has more bytes in the file than in memory");
    }
    TAPIR_TRY(check_in_file(file, size, segment.p_offset, segment.p_filesz));
    // A sum that wraps comes out below its start, which is refused as well.
    TAPIR_TRY(check_kernel_fits(memory, file, segment.p_paddr, segment.p_paddr + segment.p_memsz));
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

/// Rounds up to `alignment`, a power of two; the values here are below 2 MiB.
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

/// The PVH entry among the notes of one segment (ELF-64 Object File Format, "Note Section").
std::optional<std::uint64_t> find_pvh_entry(std::span<const std::byte> notes, std::uint64_t alignment) {
  while (notes.size() >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr note;
    std::memcpy(&note, notes.data(), sizeof note);
    const std::uint64_t name_at = sizeof note;
    const std::uint64_t description_at = align_up(name_at + note.n_namesz, alignment);
    const std::uint64_t next = align_up(description_at + note.n_descsz, alignment);
    if (description_at > notes.size() || note.n_descsz > notes.size() - description_at) {
      return std::nullopt;
    }
    const bool entry_size = note.n_descsz == 4 || note.n_descsz == 8;
    if (note.n_type == kPhys32EntryNote && entry_size && note.n_namesz == kXenName.size() &&
        std::memcmp(notes.data() + name_at, kXenName.data(), kXenName.size()) == 0) {
      std::uint64_t entry = 0;  // little-endian, as the host: 4 bytes fill the low half
      std::memcpy(&entry, notes.data() + description_at, note.n_descsz);
      return entry;
    }
    notes = notes.subspan(std::min<std::uint64_t>(next, notes.size()));
  }
  return std::nullopt;
}

Result<std::optional<std::uint64_t>> read_pvh_entry(const ImageFile& file, std::uint64_t size,
                                                    const std::vector<Elf64_Phdr>& segments) {
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_type != PT_NOTE) {
      continue;
    }
    TAPIR_TRY(check_in_file(file, size, segment.p_offset, segment.p_filesz));
    if (segment.p_filesz > kMaxNoteBytes) {
      return damaged(file, fmt::format("its notes have {} bytes", segment.p_filesz));
    }
    std::vector<std::byte> notes(segment.p_filesz);
    TAPIR_TRY(file.read(segment.p_offset, notes));
    if (const auto entry = find_pvh_entry(notes, segment.p_align == 8 ? 8 : 4)) {
      return entry;
    }
  }
  return std::optional<std::uint64_t>();
}

/// What a bzImage would say in its header.
setup_header default_header() {
  setup_header header{};
  header.boot_flag = kBootFlag;
  header.header = kMagic;
  header.version = 0x020F;
  header.loadflags = LOADED_HIGH;
  header.kernel_alignment = 0x20'0000;
  header.cmdline_size = kDefaultCommandLineMax;
  return header;
}

}  // namespace

Result<bool> is_elf(const ImageFile& file) {
  TAPIR_TRY_ASSIGN(const std::uint64_t size, file.size());
  if (size < SELFMAG) {
    return false;
  }
  std::array<std::byte, SELFMAG> magic;
  TAPIR_TRY(file.read(0, magic));
  return std::memcmp(magic.data(), ELFMAG, SELFMAG) == 0;
}

Result<KernelImage> load_elf(const virtio::GuestMemory& memory, const ImageFile& file) {
  TAPIR_TRY_ASSIGN(const std::uint64_t size, file.size());
  TAPIR_TRY_ASSIGN(const Elf64_Ehdr header, read_file_header(file, size));
  TAPIR_TRY_ASSIGN(const std::vector<Elf64_Phdr> segments, read_program_headers(file, size, header));
  TAPIR_TRY_ASSIGN(const std::vector<Elf64_Phdr> loaded, loadable(memory, file, size, segments));
  TAPIR_TRY_ASSIGN(const std::optional<std::uint64_t> pvh_entry, read_pvh_entry(file, size, segments));

  KernelImage image;
  image.protocol = pvh_entry ? KernelImage::Protocol::kPvh : KernelImage::Protocol::kLinux64;
  image.entry = pvh_entry.value_or(header.e_entry);
  image.end = loaded.back().p_paddr + loaded.back().p_memsz;
  image.initrd_limit = virtio::GuestMemory::kHoleStart;
  image.command_line_max = kDefaultCommandLineMax;
  image.header = default_header();

  const bool inside = std::any_of(loaded.begin(), loaded.end(), [&](const Elf64_Phdr& segment) {
    return image.entry >= segment.p_paddr && image.entry - segment.p_paddr < segment.p_memsz;
  });
  if (!inside) {
    return fail(fmt::format(
        "{} is an ELF file but no kernel: its entry {:#x} is not at a physical address that it loads",
        file.label(), image.entry));
  }
  for (const Elf64_Phdr& segment : loaded) {
    TAPIR_TRY(read_into_guest(memory, file, segment.p_offset, segment.p_paddr, segment.p_filesz));
  }
  return image;
}

}  // namespace tapir::vmm::boot
