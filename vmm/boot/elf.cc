// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/elf.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "vmm/boot/elf_file.h"
#include "vmm/boot/multiboot.h"

namespace tapir::vmm::boot {
namespace {

constexpr std::uint32_t kPhys32EntryNote = 18;  // XEN_ELFNOTE_PHYS32_ENTRY, xen/include/public/elfnote.h
constexpr std::array<char, 4> kXenName = {'X', 'e', 'n', '\0'};
constexpr std::uint64_t kMaxNoteBytes = 1U << 20U;
constexpr std::uint32_t kMagic = 0x5372'6448;  // "HdrS", as a bzImage has it: the kernel wants to see it
constexpr std::uint16_t kBootFlag = 0xAA55;

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

Result<std::optional<std::uint64_t>> read_pvh_entry(const ImageFile& file, const ElfFile& elf) {
  for (const Elf64_Phdr& segment : elf.segments) {
    if (segment.p_type != PT_NOTE) {
      continue;
    }
    TAPIR_TRY(check_in_file(file, elf.file_bytes, segment.p_offset, segment.p_filesz));
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

/// A multiboot header is for an entry of 32 bits. GRUB and QEMU correct it alike where a segment's virtual
/// and physical addresses differ.
std::uint64_t multiboot_entry(const ElfFile& elf) {
  for (const Elf64_Phdr& segment : elf.segments) {
    if (segment.p_type == PT_LOAD && elf.entry >= segment.p_vaddr &&
        elf.entry - segment.p_vaddr < segment.p_memsz) {
      return elf.entry - segment.p_vaddr + segment.p_paddr;
    }
  }
  return elf.entry;
}

/// How the file is entered, and where.
Status choose_protocol(const ImageFile& file, const ElfFile& elf, KernelImage& image) {
  TAPIR_TRY_ASSIGN(const auto multiboot, find_multiboot_header(file));
  TAPIR_TRY_ASSIGN(const std::optional<std::uint64_t> pvh_entry, read_pvh_entry(file, elf));
  // Of a file with both, QEMU takes multiboot, which it has in 32-bit files only.
  if (pvh_entry && (elf.is_64_bit || !multiboot)) {
    image.protocol = KernelImage::Protocol::kPvh;
    image.entry = *pvh_entry;
    return {};
  }
  if (!multiboot && elf.is_64_bit) {
    image.protocol = KernelImage::Protocol::kLinux64;
    image.entry = elf.entry;
    return {};
  }
  if (!multiboot) {
    return fail(
        fmt::format("{} is a 32-bit ELF file without a multiboot header; tapir starts 64-bit Linux, and "
                    "multiboot kernels",
                    file.label()));
  }
  if (elf.is_64_bit) {
    return fail(
        fmt::format("{} is a multiboot kernel in a 64-bit ELF file; make a 32-bit one of it: objcopy -O "
                    "elf32-i386",
                    file.label()));
  }
  TAPIR_TRY(check_multiboot_header(file, *multiboot));
  image.protocol = KernelImage::Protocol::kMultiboot;
  image.entry = multiboot_entry(elf);
  return {};
}

}  // namespace

Result<KernelImage> load_elf(const virtio::GuestMemory& memory, const ImageFile& file) {
  TAPIR_TRY_ASSIGN(const ElfFile elf, read_elf(file));
  TAPIR_TRY_ASSIGN(const std::vector<Elf64_Phdr> loaded, loadable_segments(memory, file, elf));
  KernelImage image;
  TAPIR_TRY(choose_protocol(file, elf, image));
  image.end = loaded.back().p_paddr + loaded.back().p_memsz;
  image.initrd_limit = virtio::GuestMemory::kHoleStart;
  image.command_line_max = kDefaultCommandLineMax;
  image.header = default_header();
  TAPIR_TRY(load_segments(memory, file, loaded, image.entry));
  return image;
}

}  // namespace tapir::vmm::boot
