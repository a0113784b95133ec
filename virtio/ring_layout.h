// SPDX-License-Identifier: Apache-2.0
#pragma once

#ifndef VIRTIO_RING_NO_LEGACY
#define VIRTIO_RING_NO_LEGACY  // the header's helpers for legacy rings are C, not C++
#endif
#include <linux/virtio_ring.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

/// Where the words of a split virtqueue are (virtio 1.3, 2.7 Split Virtqueues), and how they are accessed
/// while the driver changes them on another CPU. Everything here is little-endian, as the host is.
namespace tapir::virtio::split_ring {

static_assert(std::endian::native == std::endian::little, "ring words are used as they are");
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

/// One ring word, read or written in one piece whatever the compiler's mood: a copy made of two byte accesses
/// could see half of the driver's update. `word` is aligned, because GuestMemory regions and the rings are.
template <typename T>
T load(std::byte* word, std::memory_order order) {
  return std::atomic_ref<T>(*reinterpret_cast<T*>(word)).load(order);
}
template <typename T>
void store(std::byte* word, T value, std::memory_order order) {
  std::atomic_ref<T>(*reinterpret_cast<T*>(word)).store(value, order);
}

/// The one copy that is made of a descriptor: it is checked and used, whatever the driver writes meanwhile.
/// `from` may be unaligned: an indirect table may be anywhere.
inline vring_desc copy_descriptor(const std::byte* from) {
  std::array<std::uint64_t, 2> words;
  if (reinterpret_cast<std::uintptr_t>(from) % sizeof words[0] == 0) {
    auto* const aligned = const_cast<std::byte*>(from);  // atomic_ref wants it so; it is only read
    words = {load<std::uint64_t>(aligned, std::memory_order_relaxed),
             load<std::uint64_t>(aligned + sizeof words[0], std::memory_order_relaxed)};
  } else {
    std::memcpy(words.data(), from, sizeof words);
    // The compiler may not read guest memory a second time instead of using the copy.
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  return std::bit_cast<vring_desc>(words);
}

/// Whether an index that moved from `old_index` to `new_index` passed `event`: the test of
/// virtio 1.3, 2.7.7.2 and 2.7.10.2 for a batch. All arithmetic wraps at 2^16.
constexpr bool passed_event(std::uint16_t event, std::uint16_t new_index, std::uint16_t old_index) {
  return static_cast<std::uint16_t>(new_index - event - 1) <
         static_cast<std::uint16_t>(new_index - old_index);
}

}  // namespace tapir::virtio::split_ring
