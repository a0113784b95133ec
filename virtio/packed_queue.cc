// SPDX-License-Identifier: Apache-2.0
#include "virtio/packed_queue.h"

#include <linux/virtio_config.h>

#include <string>
#include <utility>

#include "net/base/check.h"
#include "virtio/ring_words.h"

// Memory order. Three kinds of word are shared with the driver's CPU:
//
// * The tail of the descriptor that is next to become available, load-acquire here: the address, the rest of
//   its chain and the data are read only after the flags that cover them.
// * The tail of the first used descriptor of a batch, store-release here: the driver sees the others and the
//   data no later than that one, and it looks at no other before it has seen that one.
// * The event words: "store mine, then look at yours" on both sides. So the stores before and the loads after
//   are seq_cst, as in split_queue.cc.
//
// Everything else in the ring belongs to one side at a time and needs no order of its own.

namespace tapir::virtio {

using packed_ring::Tail;
using ring::load;
using ring::store;

Result<PackedQueue> PackedQueue::create(const GuestMemory& memory, const QueueLayout& layout,
                                        std::uint64_t features) {
  if (layout.size == 0 || layout.size > packed_ring::kMaxSize) {
    return fail("virtqueue size " + std::to_string(layout.size) + " is not from 1 to 32768");
  }
  const auto accepted = [features](unsigned bit) { return (features >> bit & 1U) != 0; };
  PackedQueue queue(memory, layout.size, accepted(VIRTIO_RING_F_INDIRECT_DESC),
                    accepted(VIRTIO_RING_F_EVENT_IDX));
  TAPIR_TRY_ASSIGN(queue.descriptors_, place_ring(memory, "the descriptor ring", layout.descriptor_table,
                                                  packed_ring::descriptor_ring_bytes(layout.size),
                                                  packed_ring::kDescriptorRingAlignment));
  TAPIR_TRY_ASSIGN(queue.driver_event_,
                   place_ring(memory, "the driver event suppression", layout.avail_ring,
                              sizeof(vring_packed_desc_event), packed_ring::kEventAlignment));
  TAPIR_TRY_ASSIGN(queue.device_event_,
                   place_ring(memory, "the device event suppression", layout.used_ring,
                              sizeof(vring_packed_desc_event), packed_ring::kEventAlignment));
  return queue;
}

std::optional<Tail> PackedQueue::look_for_available(std::memory_order order) {
  const Tail tail = Tail::of(load<std::uint64_t>(descriptor(next_avail_.index) + Tail::kOffset, order));
  if (!packed_ring::is_available(tail.flags, next_avail_.wrap)) {
    return std::nullopt;
  }
  if (descriptors_in_flight_ == size_) {
    broken_because_ = "it made available a descriptor that is still in flight";
    return std::nullopt;
  }
  return tail;
}

std::optional<DescriptorChain> PackedQueue::pop(std::span<iovec> storage) {
  if (broken()) {
    return std::nullopt;
  }
  const auto tail = look_for_available(std::memory_order_acquire);
  if (!tail) {
    return std::nullopt;
  }
  ChainAssembler assembler(*memory_, storage);
  const auto walked = walk(*tail, assembler);
  if (!walked) {
    return std::nullopt;
  }
  in_flight_[walked->id / 64U] |= std::uint64_t{1} << (walked->id % 64U);
  next_avail_.advance(walked->descriptors, size_);
  ++chains_in_flight_;
  descriptors_in_flight_ = static_cast<std::uint16_t>(descriptors_in_flight_ + walked->descriptors);
  return assembler.finish(walked->id, walked->descriptors, walked->fault);
}

std::optional<PackedQueue::Walked> PackedQueue::walk(Tail tail, ChainAssembler& chain) {
  const std::uint16_t free = free_descriptors();
  packed_ring::Place place = next_avail_;
  Walked walked;
  for (;;) {
    ++walked.descriptors;
    // With a fault the rest is followed all the same: the ID is in the last one, and the next chain behind
    // it.
    if (walked.fault == ChainFault::kNone) {
      const auto address = load<std::uint64_t>(descriptor(place.index), std::memory_order_relaxed);
      walked.fault = add_element(address, tail, walked.descriptors == 1, chain);
    }
    if ((tail.flags & VRING_DESC_F_NEXT) == 0) {
      break;
    }
    // The driver makes the first one available last (virtio 1.3, 2.8.6), so the others need no second look at
    // their AVAIL and USED.
    if (walked.descriptors == free) {
      broken_because_ = "it made available a chain longer than what is free of the ring";
      return std::nullopt;
    }
    place.advance(1, size_);
    tail = Tail::of(load<std::uint64_t>(descriptor(place.index) + Tail::kOffset, std::memory_order_relaxed));
  }
  walked.id = tail.id;
  if (walked.id >= size_) {
    broken_because_ = "it made available a buffer ID outside the queue size";
    return std::nullopt;
  }
  if (id_in_flight(walked.id)) {
    // Using it twice would complete one buffer while the other completion still writes to it.
    broken_because_ = "it made available a buffer ID that is still in flight";
    return std::nullopt;
  }
  return walked;
}

ChainFault PackedQueue::add_element(std::uint64_t address, const Tail& tail, bool first,
                                    ChainAssembler& chain) const {
  if ((tail.flags & VRING_DESC_F_INDIRECT) != 0) {
    // Alone in its chain (virtio 1.3, 2.8.19); its WRITE flag is ignored (2.8.7).
    const bool alone = first && (tail.flags & VRING_DESC_F_NEXT) == 0;
    return indirect_ && alone ? walk_indirect(address, tail.length, chain) : ChainFault::kIndirect;
  }
  return chain.add(GuestAddress{address}, tail.length, (tail.flags & VRING_DESC_F_WRITE) != 0);
}

ChainFault PackedQueue::walk_indirect(std::uint64_t address, std::uint32_t bytes,
                                      ChainAssembler& chain) const {
  if (bytes == 0 || bytes % sizeof(vring_packed_desc) != 0) {
    return ChainFault::kIndirect;
  }
  if (bytes / sizeof(vring_packed_desc) > kMaxChainPieces) {
    return ChainFault::kLoop;
  }
  const auto host = memory_->slice(GuestAddress{address}, bytes);
  if (!host) {
    return ChainFault::kAddress;
  }
  // All entries in their order; of their flags only WRITE counts (virtio 1.3, 2.8.7).
  for (std::size_t offset = 0; offset < bytes; offset += sizeof(vring_packed_desc)) {
    const auto entry = ring::copy_descriptor<vring_packed_desc>(host->data() + offset);
    const ChainFault fault =
        chain.add(GuestAddress{entry.addr}, entry.len, (entry.flags & VRING_DESC_F_WRITE) != 0);
    if (fault != ChainFault::kNone) {
      return fault;
    }
  }
  return ChainFault::kNone;
}

void PackedQueue::close(DescriptorChain& chain) {
  CHECK(chain.parts_.open && id_in_flight(chain.parts_.head));
  chain.parts_.open = false;
  in_flight_[chain.parts_.head / 64U] &= ~(std::uint64_t{1} << (chain.parts_.head % 64U));
  --chains_in_flight_;
  descriptors_in_flight_ = static_cast<std::uint16_t>(descriptors_in_flight_ - chain.parts_.ring_descriptors);
}

void PackedQueue::undo_pop(DescriptorChain chain) {
  close(chain);
  next_avail_.retreat(chain.parts_.ring_descriptors, size_);
}

void PackedQueue::add_used(DescriptorChain chain, std::uint32_t bytes) {
  // Claiming more than was written would show the driver stale memory (virtio 1.3, 2.8.5).
  CHECK(bytes <= chain.parts_.writable_bytes);
  close(chain);
  const std::uint16_t write = bytes != 0 ? VRING_DESC_F_WRITE : 0;
  const Tail tail{bytes, chain.parts_.head,
                  static_cast<std::uint16_t>(packed_ring::used_flags(next_used_.wrap) | write)};
  if (unpublished_ == 0) {
    hidden_index_ = next_used_.index;
    hidden_tail_ = tail.word();
  } else {
    store(descriptor(next_used_.index) + Tail::kOffset, tail.word(), std::memory_order_relaxed);
  }
  // One used descriptor for the whole chain, and its other places are skipped (virtio 1.3, 2.8.6).
  next_used_.advance(chain.parts_.ring_descriptors, size_);
  unpublished_ += chain.parts_.ring_descriptors;
}

void PackedQueue::publish_used() {
  if (unpublished_ == 0) {
    return;
  }
  // A release store for the descriptors and data before it, and seq_cst for needs_notification(): its look at
  // the event word may not come before this.
  store(descriptor(hidden_index_) + Tail::kOffset, hidden_tail_, std::memory_order_seq_cst);
  published_used_ = next_used_;
  unnotified_ += std::exchange(unpublished_, 0);
}

bool PackedQueue::needs_notification() {
  if (unnotified_ == 0) {
    return false;
  }
  const auto event = load<std::uint32_t>(driver_event_, std::memory_order_seq_cst);
  const packed_ring::Place first = std::exchange(notified_used_, published_used_);
  return packed_ring::wants_notification(event, event_index_, first, std::exchange(unnotified_, 0), size_);
}

bool PackedQueue::enable_kicks() {
  if (broken()) {
    return false;
  }
  const std::uint32_t event = event_index_
                                  ? packed_ring::event_word(VRING_PACKED_EVENT_FLAG_DESC, next_avail_)
                                  : packed_ring::event_word(VRING_PACKED_EVENT_FLAG_ENABLE);
  store(device_event_, event, std::memory_order_seq_cst);
  // A chain added just before the store was seen brings no kick, so look again; acquire is part of seq_cst.
  return look_for_available(std::memory_order_seq_cst).has_value();
}

void PackedQueue::disable_kicks() {
  if (!broken()) {
    store(device_event_, packed_ring::event_word(VRING_PACKED_EVENT_FLAG_DISABLE), std::memory_order_relaxed);
  }
}

}  // namespace tapir::virtio
