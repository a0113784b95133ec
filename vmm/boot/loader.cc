// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>

#include "net/base/check.h"
#include "vmm/boot/bzimage.h"
#include "vmm/boot/cpu_tables.h"
#include "vmm/boot/elf.h"
#include "vmm/boot/memory_map.h"
#include "vmm/boot/pvh.h"
#include "vmm/boot/zero_page.h"

namespace tapir::vmm::boot {
namespace {

using virtio::GuestAddress;
using virtio::GuestMemory;

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kMiB = 1U << 20U;

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

/// The first bytes of files that people mistake for kernels.
struct KnownFormat {
  std::string_view magic;
  std::string_view name;
  bool compressed;
};
constexpr std::array<KnownFormat, 7> kKnownFormats = {{{"\x1F\x8B", "gzip", true},
                                                       {"\xFD"
                                                        "7zXZ",
                                                        "xz", true},
                                                       {"\x28\xB5\x2F\xFD", "zstd", true},
                                                       {"BZh", "bzip2", true},
                                                       {"\x02\x21\x4C\x18", "lz4", true},
                                                       {"\x89LZO", "lzo", true},
                                                       {"MZ", "EFI program", false}}};

/// Says what the file is instead of a kernel, as far as its first bytes tell.
tl::unexpected<Error> not_a_kernel(const ImageFile& file) {
  std::array<char, 8> start{};
  TAPIR_TRY_ASSIGN(const std::uint64_t size, file.size());
  TAPIR_TRY(file.read(
      0, std::as_writable_bytes(std::span(start)).first(std::min<std::uint64_t>(size, start.size()))));
  const std::string_view text(start.data(), start.size());
  for (const KnownFormat& format : kKnownFormats) {
    if (text.substr(0, format.magic.size()) != format.magic) {
      continue;
    }
    if (format.compressed) {
      return fail(fmt::format("{} is compressed with {}; uncompress it first, or use the bzImage (vmlinuz)",
                              file.label(), format.name));
    }
    if (size < kMinBzImageBytes) {
      // Kernels begin like this too.
      return fail(fmt::format("{} is truncated: it has {} bytes and not even the whole header of a kernel",
                              file.label(), size));
    }
    return fail(fmt::format("{} is an {} without the Linux/x86 boot header; use an x86-64 bzImage (vmlinuz)",
                            file.label(), format.name));
  }
  return fail(fmt::format("{} is not a kernel; tapir starts an x86-64 bzImage (vmlinuz) or ELF vmlinux",
                          file.label()));
}

Result<KernelImage> load_kernel(const GuestMemory& memory, const ImageFile& file) {
  TAPIR_TRY_ASSIGN(const bool elf, is_elf(file));
  if (elf) {
    return load_elf(memory, file);
  }
  TAPIR_TRY_ASSIGN(const bool bzimage, is_bzimage(file));
  if (bzimage) {
    return load_bzimage(memory, file);
  }
  return not_a_kernel(file);
}

/// Why an initrd has no place, and what helps.
tl::unexpected<Error> initrd_too_large(const GuestMemory& memory, const ImageFile& file,
                                       const KernelImage& kernel, std::uint64_t bytes) {
  const std::uint64_t low_limit = std::min(kernel.initrd_limit, GuestMemory::kHoleStart);
  const std::uint64_t low_need = round_up(kernel.end, kPage) + round_up(bytes, kPage);
  std::uint64_t need = low_need;
  if (low_need > low_limit) {
    if (!kernel.initrd_above_hole) {
      return fail(fmt::format("{} has {} MiB, and this kernel takes at most {} MiB", file.label(),
                              round_up(bytes, kMiB) / kMiB,
                              (low_limit - std::min(low_limit, round_up(kernel.end, kPage))) / kMiB));
    }
    need = GuestMemory::kHoleStart + round_up(bytes, kPage);
  }
  return fail(fmt::format(
      "{} with {} MiB does not fit beside the kernel into {} MiB of memory; it needs at least -m {}",
      file.label(), round_up(bytes, kMiB) / kMiB, memory.size() / kMiB, round_up(need, kMiB) / kMiB));
}

/// The highest page at which `bytes` fit: below the hole, else above it when the kernel allows.
std::optional<std::uint64_t> place_initrd(const GuestMemory& memory, const KernelImage& kernel,
                                          std::uint64_t bytes) {
  const std::uint64_t floor = round_up(kernel.end, kPage);
  const std::uint64_t ceiling = std::min(low_memory_end(memory), kernel.initrd_limit);
  if (ceiling >= bytes && (ceiling - bytes) / kPage * kPage >= floor) {
    return (ceiling - bytes) / kPage * kPage;
  }
  if (kernel.initrd_above_hole) {
    for (const auto& region : memory.regions()) {
      if (to_integer(region.start) >= GuestMemory::kHoleEnd && region.host.size() >= bytes) {
        return (to_integer(region.start) + region.host.size() - bytes) / kPage * kPage;
      }
    }
  }
  return std::nullopt;
}

Status load_initrd(const GuestMemory& memory, const ImageFile& file, const KernelImage& kernel,
                   BootData& data) {
  TAPIR_TRY_ASSIGN(const std::uint64_t bytes, file.size());
  const auto address = place_initrd(memory, kernel, bytes);
  if (!address) {
    return initrd_too_large(memory, file, kernel, bytes);
  }
  TAPIR_TRY(read_into_guest(memory, file, 0, *address, bytes));
  data.initrd_address = *address;
  data.initrd_bytes = bytes;
  return {};
}

Status write_command_line(const GuestMemory& memory, const KernelImage& kernel, std::string_view text) {
  const std::uint64_t most = std::min(kernel.command_line_max, kCommandLineBytes - 1);
  if (text.size() > most) {
    return fail(
        fmt::format("-append: the command line has {} bytes, and this kernel takes at most {}; shorten it",
                    text.size(), most));
  }
  const std::string terminated(text);  // c_str() has the final zero
  CHECK(memory.write(GuestAddress{kCommandLineAddress},
                     std::as_bytes(std::span(terminated.c_str(), terminated.size() + 1))));
  return {};
}

}  // namespace

Result<EntryState> load(const GuestMemory& memory, const BootFiles& files, const LoadParameters& parameters) {
  if (low_memory_end(memory) <= kKernelFloor) {
    return fail("the guest has no memory above 1 MiB; give it more, for example -m 256");
  }
  TAPIR_TRY_ASSIGN(const KernelImage kernel, load_kernel(memory, files.kernel));
  TAPIR_TRY(write_command_line(memory, kernel, parameters.command_line));
  BootData data;
  data.rsdp_address = parameters.rsdp_address;
  if (files.initrd) {
    TAPIR_TRY(load_initrd(memory, *files.initrd, kernel, data));
  }

  EntryState entry;
  entry.instruction_pointer = kernel.entry;
  if (kernel.protocol == KernelImage::Protocol::kPvh) {
    entry.mode = EntryState::Mode::kProtected;
    entry.boot_data = kStartInfoAddress;
    write_start_info(memory, data);
  } else {
    entry.mode = EntryState::Mode::kLong;
    entry.boot_data = kZeroPageAddress;
    TAPIR_TRY(write_zero_page(memory, kernel.header, data));
  }
  write_cpu_tables(memory, entry);
  return entry;
}

}  // namespace tapir::vmm::boot
