// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "net/base/check.h"
#include "vmm/boot/bzimage.h"
#include "vmm/boot/cpu_tables.h"
#include "vmm/boot/elf.h"
#include "vmm/boot/elf_file.h"
#include "vmm/boot/memory_map.h"
#include "vmm/boot/multiboot.h"
#include "vmm/boot/pvh.h"
#include "vmm/boot/unpack.h"
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
constexpr std::array<KnownFormat, 7> kKnownFormats = {{{"\x1F\x8B", "gzip twice", true},
                                                       {"\xFD"
                                                        "7zXZ",
                                                        "xz", true},
                                                       {"\x28\xB5\x2F\xFD", "zstd twice", true},
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
  TAPIR_TRY_ASSIGN(const bool multiboot2, is_multiboot2(file));
  if (multiboot2) {
    return fail(fmt::format("{} is a multiboot 2 kernel; tapir speaks multiboot 1", file.label()));
  }
  return fail(fmt::format(
      "{} is not a kernel; tapir starts an x86-64 bzImage (vmlinuz), an ELF vmlinux or a multiboot kernel",
      file.label()));
}

/// In QEMU's order: a bzImage, a multiboot kernel, an ELF file.
Result<KernelImage> load_unpacked(const GuestMemory& memory, const ImageFile& file) {
  TAPIR_TRY_ASSIGN(const bool bzimage, is_bzimage(file));
  if (bzimage) {
    return load_bzimage(memory, file);
  }
  TAPIR_TRY_ASSIGN(const auto multiboot, find_multiboot_header(file));
  TAPIR_TRY_ASSIGN(const bool elf, is_elf(file));
  if (multiboot && (multiboot->has_addresses() || !elf)) {
    return load_flat_multiboot(memory, file, *multiboot);
  }
  return elf ? load_elf(memory, file) : not_a_kernel(file);
}

Result<KernelImage> load_kernel(const GuestMemory& memory, const ImageFile& file) {
  // A kernel that fits has all that matters in its first bytes, as many as there is memory; debugging
  // information, which is behind it, may be cut off.
  TAPIR_TRY_ASSIGN(const auto unpacked, unpack(file, memory.size() + kMiB));
  auto kernel = load_unpacked(memory, unpacked ? unpacked->file : file);
  if (!kernel && unpacked && unpacked->cut) {
    return fail(
        fmt::format("{}; it was unpacked only as far as the guest has memory", kernel.error().message()));
  }
  return kernel;
}

/// Why an initrd has no place, and what helps.
tl::unexpected<Error> initrd_too_large(const GuestMemory& memory, const std::string& label,
                                       const KernelImage& kernel, std::uint64_t bytes) {
  const std::uint64_t low_limit = std::min(kernel.initrd_limit, GuestMemory::kHoleStart);
  const std::uint64_t low_need = round_up(kernel.end, kPage) + round_up(bytes, kPage);
  std::uint64_t need = low_need;
  if (low_need > low_limit) {
    if (!kernel.initrd_above_hole) {
      return fail(fmt::format("{} has {} MiB, and this kernel takes at most {} MiB", label,
                              round_up(bytes, kMiB) / kMiB,
                              (low_limit - std::min(low_limit, round_up(kernel.end, kPage))) / kMiB));
    }
    need = GuestMemory::kHoleStart + round_up(bytes, kPage);
  }
  return fail(fmt::format(
      "{} with {} MiB does not fit beside the kernel into {} MiB of memory; it needs at least -m {}", label,
      round_up(bytes, kMiB) / kMiB, memory.size() / kMiB, round_up(need, kMiB) / kMiB));
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

/// Each at a multiple of 4 behind the one before, as Linux takes several archives for one
/// (Documentation/driver-api/early-userspace/buffer-format.rst).
Status load_initrds(const GuestMemory& memory, const std::vector<BootFiles::Initrd>& initrds,
                    const KernelImage& kernel, BootData& data) {
  std::vector<std::uint64_t> sizes;
  std::uint64_t bytes = 0;
  for (const BootFiles::Initrd& initrd : initrds) {
    if (initrd.has_arguments) {
      return fail(fmt::format("-initrd '{}': there is no such file, and Linux takes no arguments for it",
                              initrd.text));
    }
    TAPIR_TRY_ASSIGN(const std::uint64_t size, initrd.file.size());
    sizes.push_back(size);
    bytes = round_up(bytes, 4) + size;
    if (bytes > memory.size()) {
      return initrd_too_large(memory, initrd.file.label(), kernel, bytes);
    }
  }
  const auto address = place_initrd(memory, kernel, bytes);
  if (!address) {
    return initrd_too_large(memory, initrds.back().file.label(), kernel, bytes);
  }
  std::uint64_t next = *address;
  for (std::size_t i = 0; i < initrds.size(); ++i) {
    next = round_up(next, 4);
    TAPIR_TRY(read_into_guest(memory, initrds[i].file, 0, next, sizes[i]));
    next += sizes[i];
  }
  data.initrd_address = *address;
  data.initrd_bytes = bytes;
  return {};
}

/// On pages of their own right behind the kernel, where QEMU puts them too.
Result<std::vector<MultibootModule>> load_modules(const GuestMemory& memory,
                                                  const std::vector<BootFiles::Initrd>& initrds,
                                                  const KernelImage& kernel) {
  std::vector<MultibootModule> modules;
  std::uint64_t start = round_up(kernel.end, kPage);
  for (const BootFiles::Initrd& initrd : initrds) {
    TAPIR_TRY_ASSIGN(const std::uint64_t bytes, initrd.file.size());
    const std::uint64_t end = low_memory_end(memory);
    if (start > end || bytes > end - start) {
      return fail(fmt::format("{} does not fit behind the kernel into {} MiB of memory", initrd.file.label(),
                              memory.size() / kMiB));
    }
    TAPIR_TRY(read_into_guest(memory, initrd.file, 0, start, bytes));
    modules.push_back({start, bytes, initrd.text});
    start = round_up(start + bytes, kPage);
  }
  return modules;
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

/// Linux, by either of its protocols.
Status prepare_linux(const GuestMemory& memory, const BootFiles& files, const LoadParameters& parameters,
                     const KernelImage& kernel, EntryState& entry) {
  TAPIR_TRY(write_command_line(memory, kernel, parameters.command_line));
  BootData data;
  data.rsdp_address = parameters.rsdp_address;
  if (!files.initrds.empty()) {
    TAPIR_TRY(load_initrds(memory, files.initrds, kernel, data));
  }
  if (kernel.protocol == KernelImage::Protocol::kPvh) {
    entry.mode = EntryState::Mode::kProtected;
    entry.boot_data = kStartInfoAddress;
    write_start_info(memory, data);
    return {};
  }
  entry.mode = EntryState::Mode::kLong;
  entry.boot_data = kZeroPageAddress;
  return write_zero_page(memory, kernel.header, data);
}

Status prepare_multiboot(const GuestMemory& memory, const BootFiles& files, const LoadParameters& parameters,
                         const KernelImage& kernel, EntryState& entry) {
  // The path comes first, as boot loaders and QEMU have it; kernels skip the word.
  const std::string path_first = fmt::format("{} {}", files.kernel_path, parameters.command_line);
  TAPIR_TRY(write_command_line(memory, kernel, path_first));
  TAPIR_TRY_ASSIGN(const auto modules, load_modules(memory, files.initrds, kernel));
  entry.mode = EntryState::Mode::kProtected;
  entry.boot_data = kMultibootInfoAddress;
  return write_multiboot_info(memory, modules);
}

}  // namespace

Result<EntryState> load(const GuestMemory& memory, const BootFiles& files, const LoadParameters& parameters) {
  if (low_memory_end(memory) <= kKernelFloor) {
    return fail("the guest has no memory above 1 MiB; give it more, for example -m 256");
  }
  TAPIR_TRY_ASSIGN(const KernelImage kernel, load_kernel(memory, files.kernel));
  EntryState entry;
  entry.instruction_pointer = kernel.entry;
  const bool multiboot = kernel.protocol == KernelImage::Protocol::kMultiboot;
  const auto prepare = multiboot ? prepare_multiboot : prepare_linux;
  TAPIR_TRY(prepare(memory, files, parameters, kernel, entry));
  write_cpu_tables(memory, entry);
  return entry;
}

}  // namespace tapir::vmm::boot
