// SPDX-License-Identifier: Apache-2.0
#pragma once

#ifndef VIRTIO_RING_NO_LEGACY
#define VIRTIO_RING_NO_LEGACY  // the header's helpers for legacy rings are C, not C++
#endif
#include <linux/virtio_ring.h>

#include <cstddef>
#include <cstdint>

/// The words of a packed virtqueue and the arithmetic of its places (virtio 1.3, 2.8 Packed Virtqueues).
namespace tapir::virtio::packed_ring {

static_assert(sizeof(vring_packed_desc) == 16 && sizeof(vring_packed_desc_event) == 4);

/// virtio 1.3, 2.8: the queue size is at most 32768, and any number up to that.
inline constexpr std::uint16_t kMaxSize = 32768;

// What the driver owes (virtio 1.3, 2.8.10.1 Structure Size and Alignment), in bytes.
inline constexpr std::uint64_t kDescriptorRingAlignment = 16;
inline constexpr std::uint64_t kEventAlignment = 4;

constexpr std::size_t descriptor_ring_bytes(std::size_t size) {
  return size * sizeof(vring_packed_desc);
}

/// What follows the address in a descriptor, in one word: the flags give the descriptor to the other side, so
/// that side reads them together with what they cover.
struct Tail {
  std::uint32_t length = 0;
  std::uint16_t id = 0;
  std::uint16_t flags = 0;

  static constexpr std::size_t kOffset = 8;  ///< bytes into the descriptor

  static constexpr Tail of(std::uint64_t word) {
    return {static_cast<std::uint32_t>(word), static_cast<std::uint16_t>(word >> 32U),
            static_cast<std::uint16_t>(word >> 48U)};
  }
  constexpr std::uint64_t word() const {
    return std::uint64_t{length} | std::uint64_t{id} << 32U | std::uint64_t{flags} << 48U;
  }
};

/// A descriptor's index in the ring, and which time round it is: the wrap counter, 1 the first time
/// (virtio 1.3, 2.8.1 Driver and Device Ring Wrap Counters).
struct Place {
  std::uint16_t index = 0;
  bool wrap = true;

  /// `count` is at most `size`, and so is what retreat() takes.
  constexpr void advance(std::uint16_t count, std::uint16_t size) {
    index = static_cast<std::uint16_t>(index + count);
    if (index >= size) {
      index = static_cast<std::uint16_t>(index - size);
      wrap = !wrap;
    }
  }
  constexpr void retreat(std::uint16_t count, std::uint16_t size) {
    if (index < count) {
      index = static_cast<std::uint16_t>(index + size);
      wrap = !wrap;
    }
    index = static_cast<std::uint16_t>(index - count);
  }
  friend constexpr bool operator==(const Place&, const Place&) = default;
};

/// How many descriptors lie between, going forward: 0 to 2 * size - 1. Places come again after two rounds.
constexpr std::uint32_t distance(const Place& from, const Place& to, std::uint16_t size) {
  const auto along = [size](const Place& place) {
    return std::uint32_t{place.index} + (place.wrap ? 0U : std::uint32_t{size});
  };
  const std::uint32_t ahead = along(to) + 2U * size - along(from);
  return ahead >= 2U * size ? ahead - 2U * size : ahead;
}

inline constexpr auto kAvail = static_cast<std::uint16_t>(1U << VRING_PACKED_DESC_F_AVAIL);
inline constexpr auto kUsed = static_cast<std::uint16_t>(1U << VRING_PACKED_DESC_F_USED);

/// An available descriptor has AVAIL as its writer's wrap counter and USED otherwise; in a used one both are
/// as the counter.
constexpr std::uint16_t available_flags(bool wrap) {
  return wrap ? kAvail : kUsed;
}
constexpr std::uint16_t used_flags(bool wrap) {
  return wrap ? static_cast<std::uint16_t>(kAvail | kUsed) : std::uint16_t{0};
}
constexpr bool is_available(std::uint16_t flags, bool wrap) {
  return (flags & (kAvail | kUsed)) == available_flags(wrap);
}
constexpr bool is_used(std::uint16_t flags, bool wrap) {
  return (flags & (kAvail | kUsed)) == used_flags(wrap);
}

/// An event suppression structure as one word (virtio 1.3, 2.8.14 Event Suppression Structure Format), with
/// VRING_PACKED_EVENT_FLAG_* and, for a descriptor's event, its place.
constexpr std::uint32_t event_word(std::uint16_t flags, const Place& place = {0, false}) {
  return std::uint32_t{flags} << 16U | std::uint32_t{place.wrap} << VRING_PACKED_EVENT_F_WRAP_CTR |
         place.index;
}

/// Whether that word asks for a notification of the `count` descriptors from `first` on.
constexpr bool wants_notification(std::uint32_t word, bool event_index, const Place& first,
                                  std::uint32_t count, std::uint16_t size) {
  const std::uint32_t flags = word >> 16U & 3U;
  if (flags == VRING_PACKED_EVENT_FLAG_DISABLE) {
    return false;
  }
  // What is reserved or points outside the ring counts as enabled: a notification too many does no harm.
  if (!event_index || flags != VRING_PACKED_EVENT_FLAG_DESC) {
    return true;
  }
  const Place event{static_cast<std::uint16_t>(word & 0x7FFFU),
                    (word >> VRING_PACKED_EVENT_F_WRAP_CTR & 1U) != 0};
  return event.index >= size || distance(first, event, size) < count;
}

}  // namespace tapir::virtio::packed_ring
