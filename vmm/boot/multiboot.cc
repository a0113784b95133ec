// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/multiboot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "net/base/check.h"
#include "vmm/boot/elf_file.h"
#include "vmm/boot/memory_map.h"

namespace tapir::vmm::boot {
namespace {

using virtio::GuestAddress;
using virtio::GuestMemory;

constexpr std::uint64_t kSearchedBytes = 8192;
constexpr std::uint32_t kHeaderMagic = 0x1BAD'B002;
constexpr std::uint32_t kHeaderMagic2 = 0xE852'50D6;
constexpr std::uint32_t kPageAlignModules = 1U << 0U;
constexpr std::uint32_t kWantsMemory = 1U << 1U;
constexpr std::uint32_t kWantsVideo = 1U << 2U;
constexpr std::uint32_t kRequirements = 0xFFFF;

/// The first 8192 bytes as words, or what the file has of them.
Result<std::vector<std::uint32_t>> first_words(const ImageFile& file) {
  TAPIR_TRY_ASSIGN(const std::uint64_t size, file.size());
  std::vector<std::uint32_t> words(std::min(size, kSearchedBytes) / sizeof(std::uint32_t));
  TAPIR_TRY(file.read(0, std::as_writable_bytes(std::span(words))));
  return words;
}

/// 3.3 "Boot information format", as far as its flags say that it is filled.
struct Info {
  static constexpr std::uint32_t kMemory = 1U << 0U;
  static constexpr std::uint32_t kCommandLine = 1U << 2U;
  static constexpr std::uint32_t kModules = 1U << 3U;
  static constexpr std::uint32_t kMemoryMap = 1U << 6U;
  static constexpr std::uint32_t kLoaderName = 1U << 9U;
  std::uint32_t flags;
  std::uint32_t mem_lower;  ///< KiB from 0
  std::uint32_t mem_upper;  ///< KiB from 1 MiB
  std::uint32_t boot_device;
  std::uint32_t cmdline;
  std::uint32_t mods_count;
  std::uint32_t mods_addr;
  std::array<std::uint32_t, 4> syms;
  std::uint32_t mmap_length;
  std::uint32_t mmap_addr;
  std::uint32_t drives_length;
  std::uint32_t drives_addr;
  std::uint32_t config_table;
  std::uint32_t boot_loader_name;
  std::uint32_t apm_table;
  std::array<std::uint32_t, 11> video;
};
static_assert(sizeof(Info) == 116);

struct InfoModule {
  std::uint32_t mod_start;
  std::uint32_t mod_end;
  std::uint32_t string;
  std::uint32_t reserved;
};
static_assert(sizeof(InfoModule) == 16);

struct InfoMemoryRange {
  std::uint32_t size;  ///< of what follows it
  std::uint64_t base_addr;
  std::uint64_t length;
  std::uint32_t type;
} __attribute__((packed));
static_assert(sizeof(InfoMemoryRange) == 24);

/// Puts one thing after another behind the information itself.
class InfoArea {
 public:
  explicit InfoArea(const GuestMemory& memory) : memory_(memory) {}

  /// Where it is now, if there is room.
  [[nodiscard]] std::optional<std::uint32_t> add(std::span<const std::byte> bytes) {
    if (bytes.size() > kMultibootInfoAddress + kMultibootInfoBytes - next_) {
      return std::nullopt;
    }
    const std::uint64_t address = next_;
    CHECK(memory_.write(GuestAddress{address}, bytes));
    next_ = std::min((next_ + bytes.size() + 3) / 4 * 4, kMultibootInfoAddress + kMultibootInfoBytes);
    return static_cast<std::uint32_t>(address);
  }
  [[nodiscard]] std::optional<std::uint32_t> add_text(const std::string& text) {
    return add(std::as_bytes(std::span(text.c_str(), text.size() + 1)));
  }

 private:
  const GuestMemory& memory_;
  std::uint64_t next_ = kMultibootInfoAddress + sizeof(Info);
};

Status add_modules(InfoArea& area, const std::vector<MultibootModule>& modules, Info& info) {
  std::vector<InfoModule> list;
  for (const MultibootModule& module : modules) {
    const auto text = area.add_text(module.text);
    if (!text) {
      return fail("-initrd: there is no room for so many modules, or such long arguments; give fewer");
    }
    list.push_back({static_cast<std::uint32_t>(module.start),
                    static_cast<std::uint32_t>(module.start + module.bytes), *text, 0});
  }
  const auto address = area.add(std::as_bytes(std::span<const InfoModule>(list)));
  if (!address) {
    return fail("-initrd: there is no room for so many modules; give fewer");
  }
  info.flags |= Info::kModules;
  info.mods_count = static_cast<std::uint32_t>(list.size());
  info.mods_addr = *address;
  return {};
}

/// Where a kernel goes by the address fields of its header.
struct Placement {
  std::uint64_t file_offset;
  std::uint64_t start;
  std::uint64_t file_bytes;
  std::uint64_t end;  ///< with what is zeroed behind the file's bytes
};

Result<Placement> placement_of(const ImageFile& file, const MultibootHeader& header) {
  TAPIR_TRY_ASSIGN(const std::uint64_t size, file.size());
  if (header.load_addr > header.header_addr || header.header_addr - header.load_addr > header.offset) {
    return damaged(file, "its multiboot header would lie before the file's first byte");
  }
  Placement place{};
  place.start = header.load_addr;
  place.file_offset = header.offset - (header.header_addr - header.load_addr);
  place.file_bytes = size - place.file_offset;
  if (header.load_end_addr != 0) {
    if (header.load_end_addr < header.load_addr) {
      return damaged(file, "its multiboot header gives an end before the start");
    }
    place.file_bytes = header.load_end_addr - header.load_addr;
    TAPIR_TRY(check_in_file(file, size, place.file_offset, place.file_bytes));
  }
  place.end = place.start + place.file_bytes;
  if (header.bss_end_addr != 0) {
    if (header.bss_end_addr < place.end) {
      return damaged(file, "its multiboot header gives an end of BSS before the end of the data");
    }
    place.end = header.bss_end_addr;
  }
  if (header.entry_addr < place.start || header.entry_addr >= place.end) {
    return damaged(file, fmt::format("its multiboot header gives the entry {:#x}, which is outside of it",
                                     header.entry_addr));
  }
  return place;
}

}  // namespace

Result<std::optional<MultibootHeader>> find_multiboot_header(const ImageFile& file) {
  TAPIR_TRY_ASSIGN(const std::vector<std::uint32_t> words, first_words(file));
  for (std::size_t i = 0; i + 3 <= words.size(); ++i) {
    if (words[i] != kHeaderMagic || words[i] + words[i + 1] + words[i + 2] != 0) {
      continue;
    }
    MultibootHeader header;
    header.offset = i * sizeof(std::uint32_t);
    header.flags = words[i + 1];
    if (header.has_addresses()) {
      if (i + 8 > words.size()) {
        return damaged(file, "it ends inside of its multiboot header");
      }
      header.header_addr = words[i + 3];
      header.load_addr = words[i + 4];
      header.load_end_addr = words[i + 5];
      header.bss_end_addr = words[i + 6];
      header.entry_addr = words[i + 7];
    }
    return header;
  }
  return std::optional<MultibootHeader>();
}

Result<bool> is_multiboot2(const ImageFile& file) {
  TAPIR_TRY_ASSIGN(const std::vector<std::uint32_t> words, first_words(file));
  for (std::size_t i = 0; i + 4 <= words.size(); ++i) {
    if (words[i] == kHeaderMagic2 && words[i] + words[i + 1] + words[i + 2] + words[i + 3] == 0) {
      return true;
    }
  }
  return false;
}

Status check_multiboot_header(const ImageFile& file, const MultibootHeader& header) {
  // A wish for a video mode is passed over, as QEMU does: kernels that state it go on without a screen.
  const std::uint32_t unknown =
      header.flags & kRequirements & ~(kPageAlignModules | kWantsMemory | kWantsVideo);
  if (unknown != 0) {
    return fail(fmt::format("{} is a multiboot kernel that needs what tapir does not know (flags {:#x})",
                            file.label(), unknown));
  }
  return {};
}

Result<KernelImage> load_flat_multiboot(const GuestMemory& memory, const ImageFile& file,
                                        const MultibootHeader& header) {
  TAPIR_TRY(check_multiboot_header(file, header));
  if (!header.has_addresses()) {
    return damaged(file, "it has a multiboot header without addresses and is no ELF file");
  }
  TAPIR_TRY_ASSIGN(const Placement place, placement_of(file, header));
  TAPIR_TRY(check_kernel_fits(memory, file, place.start, place.end));
  TAPIR_TRY(read_into_guest(memory, file, place.file_offset, place.start, place.file_bytes));
  KernelImage image;
  image.protocol = KernelImage::Protocol::kMultiboot;
  image.entry = header.entry_addr;
  image.end = place.end;
  image.command_line_max = kDefaultCommandLineMax;
  return image;
}

Status write_multiboot_info(const GuestMemory& memory, const std::vector<MultibootModule>& modules) {
  Info info{};
  InfoArea area(memory);
  std::vector<InfoMemoryRange> ranges;
  for (const MemoryRange& range : memory_map(memory)) {
    ranges.push_back({sizeof(InfoMemoryRange) - sizeof(InfoMemoryRange::size), range.start, range.bytes,
                      static_cast<std::uint32_t>(range.type)});
    if (range.start == 0) {
      info.mem_lower = static_cast<std::uint32_t>(range.bytes >> 10U);
    }
  }
  info.mem_upper = static_cast<std::uint32_t>((low_memory_end(memory) - kKernelFloor) >> 10U);
  const auto map = area.add(std::as_bytes(std::span<const InfoMemoryRange>(ranges)));
  const auto name = area.add_text("tapir");
  CHECK(map && name);
  info.flags = Info::kMemory | Info::kCommandLine | Info::kMemoryMap | Info::kLoaderName;
  info.cmdline = kCommandLineAddress;
  info.mmap_addr = *map;
  info.mmap_length = static_cast<std::uint32_t>(ranges.size() * sizeof(InfoMemoryRange));
  info.boot_loader_name = *name;
  if (!modules.empty()) {
    TAPIR_TRY(add_modules(area, modules, info));
  }
  CHECK(memory.write_object(GuestAddress{kMultibootInfoAddress}, info));
  return {};
}

}  // namespace tapir::vmm::boot
