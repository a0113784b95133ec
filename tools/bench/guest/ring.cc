// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/guest/ring.h"

#include "guest-tests/freestanding/runtime.h"

namespace guest {
namespace {

constexpr unsigned kFlags = 0;
constexpr unsigned kIndex = 1;
constexpr unsigned kEntries = 2;
constexpr unsigned kUsedEvent = kEntries + Ring::kSize;       // in the avail ring
constexpr unsigned kAvailEvent = kEntries + 4 * Ring::kSize;  // in the used ring, whose entries have 8 bytes
constexpr std::uint16_t kNoInterrupt = 1;
constexpr std::uint16_t kNoNotify = 1;
constexpr std::uint16_t kWrite = 2;

// x86 keeps stores in order, and loads; only the compiler has to be held back.
void barrier() {
  asm volatile("" ::: "memory");
}

// What was stored must be seen before a later load.
void full_barrier() {
  asm volatile("lock; addl $0, (%%rsp)" ::: "memory", "cc");
}

}  // namespace

void Ring::set_up(std::uintptr_t memory, std::uintptr_t notify, std::uint16_t queue, bool event_index) {
  memory_ = memory;
  notify_ = notify;
  queue_ = queue;
  event_index_ = event_index;
  for (std::uint16_t head = 0; head < kSize; ++head) {
    give_head(head);
  }
  disable_interrupt();
}

void Ring::add(std::uint16_t head, std::uintptr_t address, std::uint32_t bytes, bool writable) {
  reinterpret_cast<Descriptor*>(memory_)[head] = {address, bytes, writable ? kWrite : std::uint16_t{0}, 0};
  avail_word(kEntries + avail_index_++ % kSize) = head;
}

bool Ring::wants_kick(std::uint16_t before) const {
  if (!event_index_) {
    return (used_word(kFlags) & kNoNotify) == 0;
  }
  // The device waits for an index in [before, published_): 2.7.7.1 has the sum.
  const auto passed = static_cast<std::uint16_t>(published_ - used_word(kAvailEvent) - 1);
  return passed < static_cast<std::uint16_t>(published_ - before);
}

void Ring::publish() {
  const std::uint16_t before = published_;
  if (avail_index_ == before) {
    return;
  }
  published_ = avail_index_;
  barrier();
  static_cast<volatile std::uint16_t&>(avail_word(kIndex)) = published_;
  full_barrier();
  if (wants_kick(before)) {
    write_register<std::uint16_t>(notify_, queue_);
    ++kicks_;
  }
}

bool Ring::take_used(std::uint16_t& head, std::uint32_t& bytes) {
  if (used_word(kIndex) == used_index_) {
    return false;
  }
  barrier();
  const unsigned entry = kEntries + 4U * (used_index_ % kSize);
  head = used_word(entry) % kSize;
  bytes = used_word(entry + 2) | std::uint32_t{used_word(entry + 3)} << 16;
  ++used_index_;
  return true;
}

bool Ring::enable_interrupt(unsigned buffers) {
  const auto event = static_cast<std::uint16_t>(used_index_ + buffers - 1);
  if (event_index_) {
    static_cast<volatile std::uint16_t&>(avail_word(kUsedEvent)) = event;
  } else {
    static_cast<volatile std::uint16_t&>(avail_word(kFlags)) = 0;
  }
  full_barrier();
  return static_cast<std::uint16_t>(used_word(kIndex) - used_index_) >= buffers;
}

void Ring::disable_interrupt() {
  if (event_index_) {
    // An index that the device reaches last of all.
    static_cast<volatile std::uint16_t&>(avail_word(kUsedEvent)) =
        static_cast<std::uint16_t>(used_index_ - 1);
  } else {
    static_cast<volatile std::uint16_t&>(avail_word(kFlags)) = kNoInterrupt;
  }
}

}  // namespace guest
