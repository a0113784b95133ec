// SPDX-License-Identifier: Apache-2.0
#include "virtio/split_queue.h"

#include <linux/virtio_config.h>

#include <bit>
#include <string>
#include <utility>

#include "net/base/check.h"
#include "virtio/ring_layout.h"

// Memory order. Three pairs of words are shared with the driver's CPU:
//
// * avail.idx, load-acquire here: entries and descriptors are read only after the index that covers them.
// * used.idx, store-release here: the driver sees entries and data no later than the index that covers them.
// * The event words: "store mine, then look at yours" on both sides, where a load may not pass the store
//   before it. So both accesses are seq_cst: a locked instruction, as a fence would be, and unlike a fence
//   ThreadSanitizer understands it.
//
// Everything else in the rings belongs to one side at a time and needs no order of its own.

namespace tapir::virtio {
namespace {

using split_ring::load;
using split_ring::store;

}  // namespace

Result<SplitQueue> SplitQueue::create(const GuestMemory& memory, const QueueLayout& layout,
                                      std::uint64_t features) {
  if (layout.size > split_ring::kMaxSize || !std::has_single_bit(layout.size)) {
    return fail("virtqueue size " + std::to_string(layout.size) + " is not a power of two up to 32768");
  }
  const auto accepted = [features](unsigned bit) { return (features >> bit & 1U) != 0; };
  SplitQueue queue(memory, layout.size, accepted(VIRTIO_RING_F_INDIRECT_DESC),
                   accepted(VIRTIO_RING_F_EVENT_IDX));
  TAPIR_TRY_ASSIGN(queue.descriptors_, place_ring(memory, "the descriptor table", layout.descriptor_table,
                                                  split_ring::descriptor_table_bytes(layout.size),
                                                  split_ring::kDescriptorTableAlignment));
  TAPIR_TRY_ASSIGN(queue.avail_,
                   place_ring(memory, "the avail ring", layout.avail_ring,
                              split_ring::avail_ring_bytes(layout.size), split_ring::kAvailRingAlignment));
  TAPIR_TRY_ASSIGN(queue.used_,
                   place_ring(memory, "the used ring", layout.used_ring,
                              split_ring::used_ring_bytes(layout.size), split_ring::kUsedRingAlignment));
  return queue;
}

bool SplitQueue::head_in_flight(std::uint16_t head) const {
  return (in_flight_[head / 64U] >> (head % 64U) & 1U) != 0;
}

bool SplitQueue::look_for_available(std::memory_order order) {
  if (broken()) {
    return false;
  }
  const auto index = load<std::uint16_t>(avail_ + split_ring::kIndex, order);
  // The driver never has more than `size` entries outstanding, and its index never goes back
  // (virtio 1.3, 2.7.6.1).
  if (static_cast<std::uint16_t>(index - next_avail_) > size_) {
    broken_because_ = "its avail index moved by more than the queue size";
    return false;
  }
  seen_avail_ = index;
  return next_avail_ != seen_avail_;
}

std::optional<std::uint16_t> SplitQueue::next_head() {
  // The index is read again only when the entries seen are used up, so a driver that keeps adding cannot hold
  // the caller longer than one queue size between two looks.
  if (broken() || (next_avail_ == seen_avail_ && !look_for_available(std::memory_order_acquire))) {
    return std::nullopt;
  }
  const auto slot = static_cast<std::size_t>(next_avail_ & (size_ - 1U));
  const auto head = load<std::uint16_t>(avail_ + split_ring::avail_entry(slot), std::memory_order_relaxed);
  if (head >= size_) {
    broken_because_ = "it made available a head outside the descriptor table";
    return std::nullopt;
  }
  if (head_in_flight(head)) {
    // Using it twice would complete one buffer while the other completion still writes to it.
    broken_because_ = "it made available a head that is still in flight";
    return std::nullopt;
  }
  return head;
}

std::optional<DescriptorChain> SplitQueue::pop(std::span<iovec> storage) {
  std::optional<DescriptorChain> chain;
  const auto head = next_head();
  if (!head) {
    return chain;
  }
  const vring_desc first = split_ring::copy_descriptor(descriptors_ + *head * sizeof(vring_desc));
  std::uint16_t descriptors = 1;
  if ((first.flags & (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT)) == 0 && !storage.empty()) {
    // What every receive buffer of a usual driver is, and the most of what there is to pop under load.
    take_single(first, storage, chain.emplace());
  } else {
    ChainAssembler assembler(*memory_, storage);
    descriptors = 0;
    const ChainFault fault = walk(first, assembler, descriptors);
    chain = assembler.finish(*head, descriptors, fault);
  }
  chain->parts_.head = *head;
  in_flight_[*head / 64U] |= std::uint64_t{1} << (*head % 64U);
  ++next_avail_;
  ++chains_in_flight_;
  descriptors_in_flight_ += descriptors;
  return chain;
}

void SplitQueue::take_single(const vring_desc& descriptor, std::span<iovec> storage,
                             DescriptorChain& chain) const {
  DescriptorChain::Parts& parts = chain.parts_;
  parts.open = true;
  parts.ring_descriptors = 1;
  parts.pieces = storage.data();
  if (descriptor.len == 0) {
    return;  // its address counts for nothing, as in ChainAssembler::add()
  }
  const auto host = memory_->slice(GuestAddress{descriptor.addr}, descriptor.len);
  if (!host) {
    parts.fault = ChainFault::kAddress;
    return;
  }
  storage[0] = {host->data(), descriptor.len};
  const bool writable = (descriptor.flags & VRING_DESC_F_WRITE) != 0;
  (writable ? parts.writable_pieces : parts.readable_pieces) = 1;
  (writable ? parts.writable_bytes : parts.readable_bytes) = descriptor.len;
}

ChainFault SplitQueue::walk(vring_desc first, ChainAssembler& chain, std::uint16_t& descriptors) const {
  // Every descriptor counts, so a cycle ends when it is as long as the table.
  for (vring_desc descriptor = first;;) {
    ++descriptors;
    if ((descriptor.flags & VRING_DESC_F_INDIRECT) != 0) {
      // Its WRITE flag is ignored, and it may follow direct descriptors (virtio 1.3, 2.7.5.3.2).
      const bool last = (descriptor.flags & VRING_DESC_F_NEXT) == 0;
      return indirect_ && last ? walk_indirect(descriptor, chain) : ChainFault::kIndirect;
    }
    const ChainFault fault = chain.add(GuestAddress{descriptor.addr}, descriptor.len,
                                       (descriptor.flags & VRING_DESC_F_WRITE) != 0);
    if (fault != ChainFault::kNone || (descriptor.flags & VRING_DESC_F_NEXT) == 0) {
      return fault;
    }
    if (descriptor.next >= size_) {
      return ChainFault::kNext;
    }
    if (descriptors == size_) {
      return ChainFault::kLoop;
    }
    descriptor = split_ring::copy_descriptor(descriptors_ + descriptor.next * sizeof(vring_desc));
  }
}

ChainFault SplitQueue::walk_indirect(const vring_desc& table, ChainAssembler& chain) const {
  const std::uint32_t entries = table.len / sizeof(vring_desc);
  // `next` has 16 bits, so more entries than that cannot all be meant.
  if (table.len % sizeof(vring_desc) != 0 || entries == 0 || entries > UINT16_MAX) {
    return ChainFault::kIndirect;
  }
  const auto host = memory_->slice(GuestAddress{table.addr}, table.len);
  if (!host) {
    return ChainFault::kAddress;
  }
  std::uint16_t index = 0;
  for (std::size_t followed = 0; followed < kMaxChainPieces; ++followed) {
    const vring_desc descriptor = split_ring::copy_descriptor(host->data() + index * sizeof(vring_desc));
    if ((descriptor.flags & VRING_DESC_F_INDIRECT) != 0) {
      return ChainFault::kIndirect;
    }
    const ChainFault fault = chain.add(GuestAddress{descriptor.addr}, descriptor.len,
                                       (descriptor.flags & VRING_DESC_F_WRITE) != 0);
    if (fault != ChainFault::kNone || (descriptor.flags & VRING_DESC_F_NEXT) == 0) {
      return fault;
    }
    if (descriptor.next >= entries) {
      return ChainFault::kNext;
    }
    index = descriptor.next;
  }
  return ChainFault::kLoop;
}

void SplitQueue::close(DescriptorChain& chain) {
  CHECK(chain.parts_.open && head_in_flight(chain.parts_.head));
  chain.parts_.open = false;
  in_flight_[chain.parts_.head / 64U] &= ~(std::uint64_t{1} << (chain.parts_.head % 64U));
  --chains_in_flight_;
  descriptors_in_flight_ -= chain.parts_.ring_descriptors;
}

void SplitQueue::undo_pop(DescriptorChain chain) {
  close(chain);
  --next_avail_;
}

void SplitQueue::add_used(DescriptorChain chain, std::uint32_t bytes) {
  // Claiming more than was written would show the driver stale memory (virtio 1.3, 2.7.8.2).
  CHECK(bytes <= chain.parts_.writable_bytes);
  close(chain);
  std::byte* const entry = used_ + split_ring::used_entry(next_used_ & (size_ - 1U));
  store<std::uint32_t>(entry, chain.parts_.head, std::memory_order_relaxed);
  store<std::uint32_t>(entry + sizeof(std::uint32_t), bytes, std::memory_order_relaxed);
  ++next_used_;
}

void SplitQueue::publish_used() {
  if (published_used_ == next_used_) {
    return;
  }
  // A release store for the entries and data before it (virtio 1.3, 2.7.13 asks for that barrier), and
  // seq_cst for needs_notification(): its look at the event word may not come before this.
  store(used_ + split_ring::kIndex, next_used_, std::memory_order_seq_cst);
  published_used_ = next_used_;
}

bool SplitQueue::needs_notification() {
  const std::uint16_t before = std::exchange(notified_used_, published_used_);
  if (before == published_used_) {
    return false;
  }
  if (!event_index_) {
    const auto flags = load<std::uint16_t>(avail_ + split_ring::kFlags, std::memory_order_seq_cst);
    return (flags & VRING_AVAIL_F_NO_INTERRUPT) == 0;
  }
  const auto event = load<std::uint16_t>(avail_ + split_ring::used_event(size_), std::memory_order_seq_cst);
  return split_ring::passed_event(event, published_used_, before);
}

bool SplitQueue::enable_kicks() {
  if (broken()) {
    return false;
  }
  // With EVENT_IDX the flags are 0 and avail_event says where to kick; without it flags 0 asks for every kick
  // (virtio 1.3, 2.7.10.2).
  if (event_index_) {
    store<std::uint16_t>(used_ + split_ring::kFlags, 0, std::memory_order_relaxed);
    store(used_ + split_ring::avail_event(size_), next_avail_, std::memory_order_seq_cst);
  } else {
    store<std::uint16_t>(used_ + split_ring::kFlags, 0, std::memory_order_seq_cst);
  }
  // A chain added just before the store was seen brings no kick, so look again; acquire is part of seq_cst.
  return look_for_available(std::memory_order_seq_cst);
}

void SplitQueue::disable_kicks() {
  // With EVENT_IDX the event stays where it was: behind us, so no kick comes until the index wraps around to
  // it.
  if (!event_index_ && !broken()) {
    store<std::uint16_t>(used_ + split_ring::kFlags, VRING_USED_F_NO_NOTIFY, std::memory_order_relaxed);
  }
}

std::uint16_t SplitQueue::free_descriptors() const {
  // Chains may share descriptors if the driver is wrong, so the sum can pass the size.
  return descriptors_in_flight_ >= size_ ? std::uint16_t{0}
                                         : static_cast<std::uint16_t>(size_ - descriptors_in_flight_);
}

}  // namespace tapir::virtio
