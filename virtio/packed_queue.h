// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "net/base/result.h"
#include "virtio/descriptor_chain.h"
#include "virtio/guest_memory.h"
#include "virtio/packed_layout.h"
#include "virtio/queue_layout.h"

namespace tapir::virtio {

/// The device side of a packed virtqueue (virtio 1.3, 2.8 Packed Virtqueues). Its interface is that of
/// SplitQueue, where each function is described; one ring of descriptors takes the place of the three rings.
///
/// A chain that breaks a rule comes out of pop() with a fault. What leaves no way to tell where the next
/// chain begins or which one this is makes the queue broken(): a chain longer than what is free of the ring,
/// a buffer ID outside the queue size or still in flight, a descriptor made available that the device holds.
///
/// Chains used since the last publish_used() are written into the ring at once, but the first of them, which
/// the driver has to see before the others, is held back until then. I/O thread only.
class PackedQueue {
 public:
  /// As SplitQueue::create(), but any size from 1 to 32768 is good.
  [[nodiscard]] static Result<PackedQueue> create(const GuestMemory& memory, const QueueLayout& layout,
                                                  std::uint64_t features);

  [[nodiscard]] std::optional<DescriptorChain> pop(std::span<iovec> storage);
  void undo_pop(DescriptorChain chain);
  void abandon(DescriptorChain chain) { close(chain); }

  void add_used(DescriptorChain chain, std::uint32_t bytes);
  void publish_used();
  /// By the rules of virtio 1.3, 2.8.10 Driver and Device Event Suppression.
  [[nodiscard]] bool needs_notification();

  [[nodiscard]] bool enable_kicks();
  void disable_kicks();

  bool broken() const { return broken_because_ != nullptr; }
  std::string_view broken_because() const { return broken() ? broken_because_ : std::string_view{}; }

  std::uint16_t size() const { return size_; }
  std::uint16_t chains_in_flight() const { return chains_in_flight_; }
  std::uint16_t free_descriptors() const {
    return static_cast<std::uint16_t>(size_ - descriptors_in_flight_);
  }

 private:
  PackedQueue(const GuestMemory& memory, std::uint16_t size, bool indirect, bool event_index)
      : memory_(&memory),
        size_(size),
        indirect_(indirect),
        event_index_(event_index),
        in_flight_((size + std::size_t{63}) / 64) {}

  /// A chain as it was walked.
  struct Walked {
    ChainFault fault = ChainFault::kNone;
    std::uint16_t descriptors = 0;
    std::uint16_t id = 0;
  };

  std::byte* descriptor(std::uint16_t index) const {
    return descriptors_ + std::size_t{index} * sizeof(vring_packed_desc);
  }
  /// The tail of the next descriptor when it is available.
  [[nodiscard]] std::optional<packed_ring::Tail> look_for_available(std::memory_order order);
  /// Nothing when the chain broke the queue.
  [[nodiscard]] std::optional<Walked> walk(packed_ring::Tail tail, ChainAssembler& chain);
  [[nodiscard]] ChainFault add_element(std::uint64_t address, const packed_ring::Tail& tail, bool first,
                                       ChainAssembler& chain) const;
  [[nodiscard]] ChainFault walk_indirect(std::uint64_t address, std::uint32_t bytes,
                                         ChainAssembler& chain) const;
  bool id_in_flight(std::uint16_t id) const { return (in_flight_[id / 64U] >> (id % 64U) & 1U) != 0; }
  void close(DescriptorChain& chain);

  const GuestMemory* memory_;
  std::byte* descriptors_ = nullptr;   ///< the ring, inside guest memory
  std::byte* driver_event_ = nullptr;  ///< what the driver wants to be interrupted for
  std::byte* device_event_ = nullptr;  ///< what the device wants to be kicked for
  std::uint16_t size_;
  bool indirect_;
  bool event_index_;

  packed_ring::Place next_avail_;      ///< the next descriptor to take
  packed_ring::Place next_used_;       ///< where the next used descriptor goes
  packed_ring::Place published_used_;  ///< next_used_ at the last publish_used()
  packed_ring::Place notified_used_;   ///< the first one that needs_notification() has not judged
  std::uint32_t unpublished_ = 0;      ///< descriptors used since the last publish_used()
  std::uint32_t unnotified_ = 0;       ///< descriptors published since the last needs_notification()
  std::uint16_t hidden_index_ = 0;     ///< where the first used descriptor of those unpublished goes
  std::uint64_t hidden_tail_ = 0;      ///< what is written there
  std::uint16_t chains_in_flight_ = 0;
  std::uint16_t descriptors_in_flight_ = 0;
  std::vector<std::uint64_t> in_flight_;  ///< a bit per buffer ID
  const char* broken_because_ = nullptr;
};

}  // namespace tapir::virtio
