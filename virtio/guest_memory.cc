// SPDX-License-Identifier: Apache-2.0
#include "virtio/guest_memory.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>
#include <utility>

namespace tapir::virtio {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kHugePage = std::uint64_t{2} << 20;
/// More than any CPU can address (52 bits); below it no sum here overflows.
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 52;

std::byte* at(void* base, std::uint64_t offset) {
  return static_cast<std::byte*>(base) + offset;
}

/// `bytes` of RAM at a multiple of 2 MiB, with one inaccessible page on either side; the Mapping owns all
/// three.
Result<Mapping> map_region(std::uint64_t bytes) {
  // Reserved inaccessible first, so that the guard pages are whatever is not opened again.
  const std::uint64_t reserved = bytes + kHugePage + 2 * kPage;
  void* const base = ::mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    return fail_errno("mmap of " + std::to_string(bytes) + " bytes of guest memory");
  }
  const std::uint64_t first = reinterpret_cast<std::uintptr_t>(base) + kPage;
  const std::uint64_t lead = (first + kHugePage - 1) / kHugePage * kHugePage - first;
  Mapping mapping(at(base, lead), bytes + 2 * kPage);
  const std::uint64_t tail = reserved - lead - mapping.size();
  if (lead != 0) {
    ::munmap(base, lead);
  }
  if (tail != 0) {
    ::munmap(at(mapping.address(), mapping.size()), tail);
  }

  void* const ram = at(mapping.address(), kPage);
  if (::mprotect(ram, bytes, PROT_READ | PROT_WRITE) != 0) {
    return fail_errno("mprotect of " + std::to_string(bytes) + " bytes of guest memory");
  }
  // A core dump of the VMM must not hold the guest's secrets, and a child must neither inherit them nor make
  // every page copy-on-write. MADV_HUGEPAGE is left to the host's policy: forced, it would make boot clear
  // 2 MiB at each first touch.
  if (::madvise(ram, bytes, MADV_DONTDUMP) != 0 || ::madvise(ram, bytes, MADV_DONTFORK) != 0) {
    return fail_errno("madvise of guest memory");
  }
  return mapping;
}

}  // namespace

GuestMemory::GuestMemory(std::vector<Mapping> mappings, std::vector<Region> regions, std::uint64_t size)
    : mappings_(std::move(mappings)), regions_(std::move(regions)), size_(size) {}

Result<GuestMemory> GuestMemory::create(std::uint64_t bytes) {
  if (bytes == 0 || bytes % kPage != 0) {
    return fail("guest memory of " + std::to_string(bytes) + " bytes is not a positive multiple of 4096");
  }
  if (bytes > kMaxBytes) {
    return fail("guest memory of " + std::to_string(bytes) + " bytes is more than a CPU can address");
  }
  const std::uint64_t low = std::min(bytes, kHoleStart);
  std::vector<Mapping> mappings;
  std::vector<Region> regions;
  const auto add_region = [&](std::uint64_t start, std::uint64_t region_bytes) -> Status {
    TAPIR_TRY_ASSIGN(Mapping mapping, map_region(region_bytes));
    regions.push_back({GuestAddress{start}, mapping.bytes().subspan(kPage, region_bytes)});
    mappings.push_back(std::move(mapping));
    return {};
  };
  TAPIR_TRY(add_region(0, low));
  if (bytes > low) {
    TAPIR_TRY(add_region(kHoleEnd, bytes - low));
  }
  return GuestMemory(std::move(mappings), std::move(regions), bytes);
}

bool GuestMemory::read(GuestAddress address, std::span<std::byte> into) const {
  const auto from = slice(address, into.size());
  if (!from) {
    return false;
  }
  if (!into.empty()) {
    std::memcpy(into.data(), from->data(), into.size());
  }
  // The compiler may not go back to guest memory for a value that it was told to copy: that would be a second
  // fetch, after the check.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return true;
}

bool GuestMemory::write(GuestAddress address, std::span<const std::byte> from) const {
  const auto into = slice(address, from.size());
  if (!into) {
    return false;
  }
  if (!from.empty()) {
    std::memcpy(into->data(), from.data(), from.size());
  }
  return true;
}

Status GuestMemory::clear() {
  for (const Region& region : regions_) {
    // Private anonymous pages read as zero after this (madvise(2), MADV_DONTNEED).
    if (::madvise(region.host.data(), region.host.size(), MADV_DONTNEED) != 0) {
      return fail_errno("madvise to clear guest memory");
    }
  }
  return {};
}

}  // namespace tapir::virtio
