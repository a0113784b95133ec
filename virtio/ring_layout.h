// SPDX-License-Identifier: Apache-2.0
#pragma once

#ifndef VIRTIO_RING_NO_LEGACY
#define VIRTIO_RING_NO_LEGACY  // the header's helpers for legacy rings are C, not C++
#endif
#include <linux/virtio_ring.h>

#include <cstddef>
#include <cstdint>

#include "virtio/ring_words.h"

/// Where the words of a split virtqueue are (virtio 1.3, 2.7 Split Virtqueues).
namespace tapir::virtio::split_ring {

static_assert(sizeof(vring_desc) == 16 && sizeof(vring_used_elem) == 8);

/// virtio 1.3, 2.7: the queue size is at most 32768.
inline constexpr std::uint16_t kMaxSize = 32768;

// Alignment that the driver owes (virtio 1.3, 2.7, table of alignments).
inline constexpr std::uint64_t kDescriptorTableAlignment = 16;
inline constexpr std::uint64_t kAvailRingAlignment = 2;
inline constexpr std::uint64_t kUsedRingAlignment = 4;

// Offsets common to the avail ring (2.7.6) and the used ring (2.7.8), in bytes.
inline constexpr std::size_t kFlags = 0;
inline constexpr std::size_t kIndex = 2;
inline constexpr std::size_t kEntries = 4;

constexpr std::size_t avail_entry(std::size_t slot) {
  return kEntries + slot * sizeof(std::uint16_t);
}
constexpr std::size_t used_entry(std::size_t slot) {
  return kEntries + slot * sizeof(vring_used_elem);
}
/// used_event follows the last avail entry, avail_event the last used one (2.7.7, 2.7.10).
constexpr std::size_t used_event(std::size_t size) {
  return avail_entry(size);
}
constexpr std::size_t avail_event(std::size_t size) {
  return used_entry(size);
}

// Sizes in bytes. The event words belong to the rings whether or not RING_EVENT_IDX was negotiated.
constexpr std::size_t descriptor_table_bytes(std::size_t size) {
  return size * sizeof(vring_desc);
}
constexpr std::size_t avail_ring_bytes(std::size_t size) {
  return used_event(size) + sizeof(std::uint16_t);
}
constexpr std::size_t used_ring_bytes(std::size_t size) {
  return avail_event(size) + sizeof(std::uint16_t);
}

using ring::load;
using ring::store;

inline vring_desc copy_descriptor(const std::byte* from) {
  return ring::copy_descriptor<vring_desc>(from);
}

/// Whether an index that moved from `old_index` to `new_index` passed `event`: the test of
/// virtio 1.3, 2.7.7.2 and 2.7.10.2 for a batch. All arithmetic wraps at 2^16.
constexpr bool passed_event(std::uint16_t event, std::uint16_t new_index, std::uint16_t old_index) {
  return static_cast<std::uint16_t>(new_index - event - 1) <
         static_cast<std::uint16_t>(new_index - old_index);
}

}  // namespace tapir::virtio::split_ring
