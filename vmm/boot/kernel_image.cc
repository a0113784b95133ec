// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/kernel_image.h"

#include <fmt/format.h>

#include "net/base/check.h"
#include "vmm/boot/memory_map.h"

namespace tapir::vmm::boot {

using virtio::GuestAddress;
using virtio::GuestMemory;

Status check_kernel_fits(const GuestMemory& memory, const ImageFile& file, std::uint64_t start,
                         std::uint64_t end) {
  if (start < kKernelFloor || end < start || end > GuestMemory::kHoleStart) {
    return fail(
        fmt::format("{} wants to be at {:#x} to {:#x}; a kernel may take memory from 1 MiB to 3 GiB only",
                    file.label(), start, end));
  }
  if (end > low_memory_end(memory)) {
    constexpr std::uint64_t kMiB = 1U << 20U;
    return fail(fmt::format("{} does not fit into {} MiB of memory; it needs at least -m {}", file.label(),
                            memory.size() / kMiB, (end + kMiB - 1) / kMiB));
  }
  return {};
}

Status read_into_guest(const GuestMemory& memory, const ImageFile& file, std::uint64_t offset,
                       std::uint64_t address, std::uint64_t bytes) {
  const auto space = memory.slice(GuestAddress{address}, bytes);
  CHECK(space);
  return file.read(offset, *space);
}

}  // namespace tapir::vmm::boot
