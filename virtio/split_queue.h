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
#include "virtio/queue_layout.h"

struct vring_desc;

namespace tapir::virtio {

/// The device side of a split virtqueue. Nothing in its interface is particular to the split format.
///
/// The guest may write any nonsense into the rings at any time. A chain that breaks a rule comes out of pop()
/// with a fault and is given back with length 0. What makes the ring itself meaningless (an avail index that
/// jumped, a head outside the table, a head that is still in flight) makes the queue broken(): pop() gives
/// nothing any more, and the device asks for a reset. Work per call is bounded by the queue size.
///
/// The device's own indexes are private and never read back from guest memory. I/O thread only; may be moved
/// between threads while idle.
///
///     queue.disable_kicks();
///     do {
///       while (auto chain = queue.pop(storage)) { … queue.add_used(std::move(*chain), bytes_written); }
///       queue.publish_used();
///       if (queue.needs_notification()) { notifier.notify_queue(index); }
///     } while (queue.enable_kicks() && (queue.disable_kicks(), true));
class SplitQueue {
 public:
  /// `features`: the accepted bits; RING_INDIRECT_DESC and RING_EVENT_IDX matter. `memory` outlives the
  /// queue. Touches no guest memory. Error: size not a power of two, a ring misaligned or not wholly in RAM.
  [[nodiscard]] static Result<SplitQueue> create(const GuestMemory& memory, const QueueLayout& layout,
                                                 std::uint64_t features);

  /// The next available chain, walked and checked, its pieces at the front of `storage`. Look at fault()
  /// before anything else. Nothing: the driver has no more for now, or the queue is broken.
  [[nodiscard]] std::optional<DescriptorChain> pop(std::span<iovec> storage);
  /// Makes the chain popped last (of those not undone) available again, as if it had not been popped.
  void undo_pop(DescriptorChain chain);
  /// Ends a chain without telling the driver, who takes all its buffers back with a reset. Only for a queue
  /// that is not used any more.
  void abandon(DescriptorChain chain) { close(chain); }

  /// Ends a chain of which the device wrote the first `bytes` writable bytes. The driver sees it after
  /// publish_used().
  void add_used(DescriptorChain chain, std::uint32_t bytes);
  /// Shows the driver everything that was added, in one step.
  void publish_used();
  /// Whether the driver wants to be interrupted for what was published since the last call
  /// (virtio 1.3, 2.7.7.2 Device Requirements: Used Buffer Notification Suppression). Once per batch, after
  /// publish_used().
  [[nodiscard]] bool needs_notification();

  /// Asks for a kick at the next available chain. True: there is one already, for which no kick may come.
  [[nodiscard]] bool enable_kicks();
  /// Kicks are of no use for now. A hint to the driver: some may still come.
  void disable_kicks();

  bool broken() const { return broken_because_ != nullptr; }
  /// What the driver did, for the log; empty when the queue is not broken.
  std::string_view broken_because() const { return broken() ? broken_because_ : std::string_view{}; }

  std::uint16_t size() const { return size_; }
  /// Chains popped and neither used nor undone.
  std::uint16_t chains_in_flight() const { return chains_in_flight_; }
  /// Entries that the driver can still fill while those chains are held.
  std::uint16_t free_descriptors() const;

 private:
  SplitQueue(const GuestMemory& memory, std::uint16_t size, bool indirect, bool event_index)
      : memory_(&memory),
        size_(size),
        indirect_(indirect),
        event_index_(event_index),
        in_flight_((size + std::size_t{63}) / 64) {}

  [[nodiscard]] bool look_for_available(std::memory_order order);
  /// The head at the next entry of the avail ring, checked; nothing if there is none that can be used.
  std::optional<std::uint16_t> next_head();
  /// A chain of this one descriptor, which is neither indirect nor followed by another.
  void take_single(const vring_desc& descriptor, std::span<iovec> storage, DescriptorChain& chain) const;
  /// `first` is the copy of the head's descriptor.
  [[nodiscard]] ChainFault walk(vring_desc first, ChainAssembler& chain, std::uint16_t& descriptors) const;
  [[nodiscard]] ChainFault walk_indirect(const vring_desc& table, ChainAssembler& chain) const;
  bool head_in_flight(std::uint16_t head) const;
  void close(DescriptorChain& chain);

  const GuestMemory* memory_;
  std::byte* descriptors_ = nullptr;  ///< the three rings, inside guest memory
  std::byte* avail_ = nullptr;
  std::byte* used_ = nullptr;
  std::uint16_t size_;
  bool indirect_;
  bool event_index_;

  std::uint16_t next_avail_ = 0;  ///< the next entry of the avail ring to take
  std::uint16_t seen_avail_ = 0;  ///< avail.idx when last read: the driver's entries end here
  std::uint16_t next_used_ = 0;   ///< where the next used entry goes
  std::uint16_t published_used_ = 0;
  std::uint16_t notified_used_ = 0;  ///< published_used_ at the last needs_notification()
  std::uint16_t chains_in_flight_ = 0;
  std::uint32_t descriptors_in_flight_ = 0;
  std::vector<std::uint64_t> in_flight_;  ///< a bit per head
  const char* broken_because_ = nullptr;
};

}  // namespace tapir::virtio
