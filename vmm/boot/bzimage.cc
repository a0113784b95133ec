// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/bzimage.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>

#include "vmm/boot/memory_map.h"

namespace tapir::vmm::boot {
namespace {

constexpr std::uint64_t kHeaderOffset = offsetof(boot_params, hdr);                     // 0x1F1
constexpr std::uint64_t kMagicOffset = kHeaderOffset + offsetof(setup_header, header);  // 0x202
constexpr std::uint64_t kVersionOffset = kHeaderOffset + offsetof(setup_header, version);
constexpr std::uint64_t kInitSizeEnd = kHeaderOffset + offsetof(setup_header, handover_offset);
constexpr std::uint32_t kMagic = 0x5372'6448;  // "HdrS"
constexpr std::uint16_t kBootFlag = 0xAA55;
constexpr std::uint16_t kOldestVersion = 0x020C;
constexpr std::uint64_t kSectorBytes = 512;
constexpr std::uint64_t kEntry64Offset = 0x200;
constexpr std::uint32_t kMaxAlignment = 1U << 30U;

static_assert(kHeaderOffset == 0x1F1 && kMagicOffset == 0x202 && kInitSizeEnd == 0x264 &&
              kVersionOffset == kMinBzImageBytes);

/// The header as far as the file says that it has one; later fields are 0.
Result<setup_header> read_header(const ImageFile& file) {
  std::array<std::byte, kHeaderOffset + sizeof(setup_header)> sector{};
  // In two reads, because an old kernel's header may be shorter than ours while its file is not.
  TAPIR_TRY(file.read(0, std::span(sector).first(kVersionOffset)));
  // The header ends where the jump instruction at 0x200 leads to: the byte at 0x201 counts from 0x202.
  const std::uint64_t end = kMagicOffset + std::to_integer<std::uint64_t>(sector[kMagicOffset - 1]);
  const std::uint64_t kept = std::min<std::uint64_t>(end, sector.size());
  if (kept > kVersionOffset) {
    TAPIR_TRY(file.read(kVersionOffset, std::span(sector).subspan(kVersionOffset, kept - kVersionOffset)));
  }
  setup_header header{};
  std::memcpy(&header, sector.data() + kHeaderOffset, sizeof header);
  const std::uint16_t version = header.version;
  if (version < kOldestVersion) {
    return fail(
        fmt::format("{} is too old a kernel: its boot protocol is {}.{:02}, and tapir needs 2.12 (Linux 3.8)",
                    file.label(), version >> 8U, version & 0xFFU));
  }
  if (kept < kInitSizeEnd) {
    return fail(fmt::format("{} is damaged: its header ends at byte {}", file.label(), kept));
  }
  return header;
}

Status check_header(const ImageFile& file, const setup_header& header) {
  const std::uint32_t alignment = header.kernel_alignment;
  if ((header.xloadflags & XLF_KERNEL_64) == 0) {
    return fail(fmt::format("{} is a 32-bit kernel; tapir starts 64-bit kernels", file.label()));
  }
  if ((header.loadflags & LOADED_HIGH) == 0) {
    return fail(fmt::format("{} is a zImage, which is loaded below 1 MiB; build a bzImage", file.label()));
  }
  if (!std::has_single_bit(alignment) || alignment > kMaxAlignment) {
    return fail(fmt::format("{} is damaged: its header asks for alignment {:#x}", file.label(), alignment));
  }
  if (header.syssize == 0) {
    return fail(fmt::format("{} is damaged: its header says that there is no code", file.label()));
  }
  return {};
}

}  // namespace

Result<bool> is_bzimage(const ImageFile& file) {
  TAPIR_TRY_ASSIGN(const std::uint64_t size, file.size());
  if (size < kMinBzImageBytes) {
    return false;
  }
  std::array<std::byte, kMinBzImageBytes> sector;
  TAPIR_TRY(file.read(0, sector));
  std::uint16_t boot_flag = 0;
  std::uint32_t magic = 0;
  std::memcpy(&boot_flag, &sector[kHeaderOffset + offsetof(setup_header, boot_flag)], sizeof boot_flag);
  std::memcpy(&magic, &sector[kMagicOffset], sizeof magic);
  return boot_flag == kBootFlag && magic == kMagic;
}

Result<KernelImage> load_bzimage(const virtio::GuestMemory& memory, const ImageFile& file) {
  TAPIR_TRY_ASSIGN(const std::uint64_t size, file.size());
  TAPIR_TRY_ASSIGN(setup_header header, read_header(file));
  TAPIR_TRY(check_header(file, header));

  // "setup_sects … If it is 0, the real value is 4"; the boot sector comes on top.
  const std::uint64_t setup_bytes = ((header.setup_sects == 0 ? 4U : header.setup_sects) + 1U) * kSectorBytes;
  const std::uint64_t code_bytes = std::uint64_t{header.syssize} * 16;
  if (size < setup_bytes + code_bytes) {
    return fail(fmt::format("{} is truncated: it has {} bytes and should have {}", file.label(), size,
                            setup_bytes + code_bytes));
  }

  // The kernel rounds its own address up like this, so it must find itself there. Checked first: no overflow.
  const std::uint64_t preferred = header.pref_address;
  if (preferred > virtio::GuestMemory::kHoleStart) {
    TAPIR_TRY(check_kernel_fits(memory, file, preferred, preferred));
  }
  const std::uint64_t alignment = header.kernel_alignment;
  const std::uint64_t start = (preferred + alignment - 1) / alignment * alignment;
  const std::uint64_t used = std::max<std::uint64_t>(header.init_size, code_bytes);
  TAPIR_TRY(check_kernel_fits(memory, file, start, start + used));
  TAPIR_TRY(read_into_guest(memory, file, setup_bytes, start, code_bytes));

  KernelImage image;
  image.protocol = KernelImage::Protocol::kLinux64;
  image.entry = start + kEntry64Offset;
  image.end = start + used;
  image.initrd_above_hole = (header.xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G) != 0;
  // A kernel that takes everything above 4 GiB has no use for the older limit (boot.rst, initrd_addr_max).
  image.initrd_limit =
      image.initrd_above_hole ? virtio::GuestMemory::kHoleStart : header.initrd_addr_max + 1ULL;
  image.command_line_max = header.cmdline_size;
  header.code32_start = static_cast<__u32>(start);  // below 3 GiB
  image.header = header;
  return image;
}

}  // namespace tapir::vmm::boot
