// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

/// How the words of a ring are accessed while the driver changes them on another CPU, whatever the format.
/// Everything in a ring is little-endian, as the host is.
namespace tapir::virtio::ring {

static_assert(std::endian::native == std::endian::little, "ring words are used as they are");

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
template <typename Descriptor>
Descriptor copy_descriptor(const std::byte* from) {
  std::array<std::uint64_t, 2> words;
  static_assert(sizeof(Descriptor) == sizeof words);
  if (reinterpret_cast<std::uintptr_t>(from) % sizeof words[0] == 0) {
    auto* const aligned = const_cast<std::byte*>(from);  // atomic_ref wants it so; it is only read
    words = {load<std::uint64_t>(aligned, std::memory_order_relaxed),
             load<std::uint64_t>(aligned + sizeof words[0], std::memory_order_relaxed)};
  } else {
    std::memcpy(words.data(), from, sizeof words);
    // The compiler may not read guest memory a second time instead of using the copy.
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  return std::bit_cast<Descriptor>(words);
}

}  // namespace tapir::virtio::ring
