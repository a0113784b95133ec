// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "guest-tests/freestanding/virtio_net_driver.h"

namespace guest {

/// One split virtqueue of a driver that sleeps: as PolledQueue, with suppression of kicks and interrupts by
/// index or by flags (virtio 1.3, 2.7.7 Used Buffer Notification Suppression, 2.7.10 Available Buffer
/// Notification Suppression).
class Ring {
 public:
  static constexpr std::uint16_t kSize = 256;
  static constexpr std::uintptr_t kBytes = 0x3000;  ///< a page for each part

  /// `memory`: kBytes, all zero. `notify`: the register that kicks the virtqueue `queue`.
  void set_up(std::uintptr_t memory, std::uintptr_t notify, std::uint16_t queue, bool event_index);

  std::uintptr_t descriptors() const { return memory_; }
  std::uintptr_t avail() const { return memory_ + 4096; }
  std::uintptr_t used() const { return memory_ + 8192; }

  /// How many descriptors take_head() has.
  unsigned room() const { return static_cast<std::uint16_t>(next_given_ - next_free_); }
  /// A descriptor that nobody uses; there is one. It comes back by give_head().
  std::uint16_t take_head() { return free_[next_free_++ % kSize]; }
  void give_head(std::uint16_t head) { free_[next_given_++ % kSize] = head; }

  /// Puts a buffer into the virtqueue with a descriptor that is not in it; the device sees it after
  /// publish().
  void add(std::uint16_t head, std::uintptr_t address, std::uint32_t bytes, bool writable);
  /// Makes what was added available, and kicks if the device asks for it.
  void publish();
  /// The next used buffer: its descriptor, and how much the device wrote. False: there is none.
  bool take_used(std::uint16_t& head, std::uint32_t& bytes);
  /// Asks for an interrupt when `buffers` more are used. True: they are already.
  bool enable_interrupt(unsigned buffers);
  void disable_interrupt();

  std::uint64_t kicks() const { return kicks_; }

 private:
  std::uint16_t& avail_word(unsigned word) const { return reinterpret_cast<std::uint16_t*>(avail())[word]; }
  std::uint16_t used_word(unsigned word) const {
    return reinterpret_cast<const volatile std::uint16_t*>(used())[word];
  }
  bool wants_kick(std::uint16_t before) const;

  std::uintptr_t memory_ = 0;
  std::uintptr_t notify_ = 0;
  std::uint16_t queue_ = 0;
  bool event_index_ = false;
  std::uint16_t free_[kSize] = {};  ///< from next_free_ to next_given_
  std::uint16_t next_free_ = 0;
  std::uint16_t next_given_ = 0;
  std::uint16_t avail_index_ = 0;
  std::uint16_t published_ = 0;
  std::uint16_t used_index_ = 0;
  std::uint64_t kicks_ = 0;
};

}  // namespace guest
