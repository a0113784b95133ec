// SPDX-License-Identifier: Apache-2.0
#include "virtio/testing/packed_driver_queue.h"

#include <utility>

#include "net/base/check.h"
#include "virtio/ring_words.h"

namespace tapir::virtio::testing {
namespace {

using packed_ring::Tail;
using ring::load;
using ring::store;

/// Word by word, for another CPU of a test may write there already.
std::byte* zeroed(const GuestMemory& memory, GuestAddress address, std::size_t bytes) {
  const auto host = memory.slice(address, bytes);
  CHECK(host.has_value());
  for (std::size_t at = 0; at < bytes; at += sizeof(std::uint32_t)) {
    store<std::uint32_t>(host->data() + at, 0, std::memory_order_relaxed);
  }
  return host->data();
}

}  // namespace

QueueLayout PackedDriverQueue::place(std::uint64_t base, std::uint16_t size) {
  const std::uint64_t events = base + packed_ring::descriptor_ring_bytes(size);
  return {size, GuestAddress{base}, GuestAddress{events},
          GuestAddress{events + sizeof(vring_packed_desc_event)}};
}

std::uint64_t PackedDriverQueue::end_of(std::uint64_t base, std::uint16_t size) {
  return base + packed_ring::descriptor_ring_bytes(size) + sizeof(vring_packed_desc);
}

PackedDriverQueue::PackedDriverQueue(const GuestMemory& memory, const QueueLayout& layout, bool event_index)
    : memory_(&memory),
      descriptors_(zeroed(memory, layout.descriptor_table, packed_ring::descriptor_ring_bytes(layout.size))),
      driver_event_(zeroed(memory, layout.avail_ring, sizeof(vring_packed_desc_event))),
      device_event_(zeroed(memory, layout.used_ring, sizeof(vring_packed_desc_event))),
      layout_(layout),
      event_index_(event_index),
      free_descriptors_(layout.size),
      lengths_(layout.size) {
  // Not in the order of the ring, as IDs need not be.
  for (std::uint16_t id = 0; id < layout.size; ++id) {
    free_ids_.push_back(id);
  }
}

std::byte* PackedDriverQueue::tail(std::uint16_t index) const {
  return descriptors_ + std::size_t{index} * sizeof(vring_packed_desc) + Tail::kOffset;
}

std::optional<std::uint16_t> PackedDriverQueue::add(const ChainBuilder& chain) {
  const auto elements = chain.elements();
  if (elements.empty() || elements.size() > free_descriptors_) {
    return std::nullopt;
  }
  const std::uint16_t id = free_ids_.back();
  free_ids_.pop_back();
  const auto count = static_cast<std::uint16_t>(elements.size());
  lengths_[id] = count;
  free_descriptors_ = static_cast<std::uint16_t>(free_descriptors_ - count);
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const bool last = i + 1 == elements.size();
    vring_packed_desc descriptor{};
    descriptor.addr = elements[i].address;
    descriptor.len = elements[i].bytes;
    descriptor.id = last ? id : std::uint16_t{0xFFFF};  // in the others it means nothing
    descriptor.flags = static_cast<std::uint16_t>(elements[i].flags | (last ? 0 : VRING_DESC_F_NEXT));
    add_raw(descriptor);
  }
  return id;
}

std::optional<std::uint16_t> PackedDriverQueue::add_indirect(const ChainBuilder& chain, std::uint64_t table) {
  write_packed_indirect_table(*memory_, table, chain.elements());
  const auto bytes = static_cast<std::uint32_t>(chain.elements().size() * sizeof(vring_packed_desc));
  return add(ChainBuilder().element({table, bytes, VRING_DESC_F_INDIRECT}));
}

void PackedDriverQueue::add_raw(vring_packed_desc descriptor) {
  descriptor.flags =
      static_cast<std::uint16_t>(descriptor.flags | packed_ring::available_flags(next_avail_.wrap));
  if (unpublished_ != 0) {
    write_descriptor(next_avail_.index, descriptor);
  } else {
    // The first of a batch becomes available after all others.
    store<std::uint64_t>(tail(next_avail_.index) - Tail::kOffset, descriptor.addr, std::memory_order_relaxed);
    first_tail_ = Tail{descriptor.len, descriptor.id, descriptor.flags}.word();
    first_unpublished_ = next_avail_;
  }
  ++unpublished_;
  next_avail_.advance(1, layout_.size);
}

bool PackedDriverQueue::publish() {
  const std::uint32_t count = std::exchange(unpublished_, 0);
  if (count != 0) {
    // Release: the device sees the descriptors; seq_cst: the look at the event may not come before it.
    store(tail(first_unpublished_.index), first_tail_, std::memory_order_seq_cst);
  }
  return count != 0 && packed_ring::wants_notification(device_event(), event_index_, first_unpublished_,
                                                       count, layout_.size);
}

std::optional<DriverEnd::Used> PackedDriverQueue::take_used() {
  const Tail used = Tail::of(load<std::uint64_t>(tail(next_used_.index), std::memory_order_acquire));
  if (!packed_ring::is_used(used.flags, next_used_.wrap)) {
    return std::nullopt;
  }
  CHECK(used.id < layout_.size && lengths_[used.id] != 0);
  const std::uint16_t count = std::exchange(lengths_[used.id], std::uint16_t{0});
  next_used_.advance(count, layout_.size);
  free_descriptors_ = static_cast<std::uint16_t>(free_descriptors_ + count);
  free_ids_.push_back(used.id);
  const bool written = (used.flags & VRING_DESC_F_WRITE) != 0;
  return Used{used.id, written ? used.length : 0};
}

bool PackedDriverQueue::enable_interrupts() {
  set_driver_event(event_index_ ? packed_ring::event_word(VRING_PACKED_EVENT_FLAG_DESC, next_used_)
                                : packed_ring::event_word(VRING_PACKED_EVENT_FLAG_ENABLE));
  const Tail next = Tail::of(load<std::uint64_t>(tail(next_used_.index), std::memory_order_seq_cst));
  return packed_ring::is_used(next.flags, next_used_.wrap);
}

void PackedDriverQueue::disable_interrupts() {
  set_driver_event(packed_ring::event_word(VRING_PACKED_EVENT_FLAG_DISABLE));
}

void PackedDriverQueue::break_ring() {
  for (std::uint32_t i = 0; i < layout_.size; ++i) {
    add_raw({0x1000, 4, 0, VRING_DESC_F_NEXT});
  }
  publish();
}

void PackedDriverQueue::write_descriptor(std::uint16_t index, const vring_packed_desc& descriptor) {
  store<std::uint64_t>(tail(index) - Tail::kOffset, descriptor.addr, std::memory_order_relaxed);
  store(tail(index), Tail{descriptor.len, descriptor.id, descriptor.flags}.word(), std::memory_order_release);
}

vring_packed_desc PackedDriverQueue::read_descriptor(std::uint16_t index) const {
  return ring::copy_descriptor<vring_packed_desc>(tail(index) - Tail::kOffset);
}

void PackedDriverQueue::set_driver_event(std::uint32_t word) {
  store(driver_event_, word, std::memory_order_seq_cst);
}

std::uint32_t PackedDriverQueue::device_event() const {
  return load<std::uint32_t>(device_event_, std::memory_order_seq_cst);
}

void write_packed_indirect_table(const GuestMemory& memory, std::uint64_t table,
                                 std::span<const ChainBuilder::Element> elements) {
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const vring_packed_desc descriptor{elements[i].address, elements[i].bytes, 0, elements[i].flags};
    CHECK(memory.write_object(GuestAddress{table + i * sizeof descriptor}, descriptor));
  }
}

}  // namespace tapir::virtio::testing
