// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include "net/base/mapping.h"
#include "net/base/result.h"

namespace tapir::virtio {

/// A guest-physical address. Arithmetic on it is done on the integer, where an overflow can be checked.
enum class GuestAddress : std::uint64_t {};

constexpr std::uint64_t to_integer(GuestAddress address) {
  return static_cast<std::uint64_t>(address);
}

/// The guest's RAM and the only door to it: every access is checked against the regions, and no accessor ever
/// faults, whatever the guest says. One region from 0, and above 3 GiB of memory a second one at 4 GiB, with
/// the hole for devices between them. The mapping is anonymous, private and no-reserve, aligned to 2 MiB so
/// that huge pages apply, with an inaccessible page on either side, left out of core dumps and of children.
///
/// The guest may change any byte at any time. So a value is copied out once, checked, and only the copy is
/// used; words of a ring go through std::atomic_ref on slice(). Thread-compatible; the accessors may be used
/// by every thread at once.
class GuestMemory {
 public:
  struct Region {
    GuestAddress start;
    std::span<std::byte> host;
  };

  /// Where the hole for devices begins and ends.
  static constexpr std::uint64_t kHoleStart = 0xC000'0000;
  static constexpr std::uint64_t kHoleEnd = 0x1'0000'0000;

  /// `bytes` of zeroed RAM: above 0 and a multiple of 4096. Error: the host has not that much address space.
  [[nodiscard]] static Result<GuestMemory> create(std::uint64_t bytes);

  std::span<const Region> regions() const { return regions_; }
  std::uint64_t size() const { return size_; }

  /// The host bytes of [address, address + bytes) if all of it lies in one region. `bytes` 0 gives an empty
  /// span for any address inside or at the end of a region.
  std::optional<std::span<std::byte>> slice(GuestAddress address, std::uint64_t bytes) const {
    for (const Region& region : regions_) {
      // Differences only, each taken after the comparison that keeps it from wrapping.
      const std::uint64_t start = to_integer(region.start);
      if (to_integer(address) < start) {
        continue;
      }
      const std::uint64_t offset = to_integer(address) - start;
      if (offset <= region.host.size() && bytes <= region.host.size() - offset) {
        return region.host.subspan(offset, bytes);
      }
    }
    return std::nullopt;
  }

  /// Copies; false and nothing copied when the range is not RAM of one region.
  [[nodiscard]] bool read(GuestAddress address, std::span<std::byte> into) const;
  [[nodiscard]] bool write(GuestAddress address, std::span<const std::byte> from) const;

  template <typename T>
  std::optional<T> read_object(GuestAddress address) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    if (!read(address, std::as_writable_bytes(std::span(&value, 1)))) {
      return std::nullopt;
    }
    return value;
  }
  template <typename T>
  [[nodiscard]] bool write_object(GuestAddress address, const T& value) const {
    static_assert(std::is_trivially_copyable_v<T>);
    return write(address, std::as_bytes(std::span(&value, 1)));
  }

  /// All RAM reads as zero again and its pages go back to the host, as at power-on. Only while no vCPU runs.
  [[nodiscard]] Status clear();

 private:
  GuestMemory(std::vector<Mapping> mappings, std::vector<Region> regions, std::uint64_t size);

  std::vector<Mapping> mappings_;  ///< with their guard pages
  std::vector<Region> regions_;
  std::uint64_t size_;
};

}  // namespace tapir::virtio
