// SPDX-License-Identifier: Apache-2.0
#include "virtio/testing/driver_queue.h"

#include <algorithm>
#include <cstring>

#include "net/base/check.h"

namespace tapir::virtio::testing {
namespace {

using split_ring::load;
using split_ring::store;

std::byte* bytes_at(const GuestMemory& memory, GuestAddress address, std::size_t bytes) {
  const auto host = memory.slice(address, bytes);
  CHECK(host.has_value());
  std::fill(host->begin(), host->end(), std::byte{0});
  return host->data();
}

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t to) {
  return (value + to - 1) / to * to;
}

}  // namespace

QueueLayout DriverQueue::place(std::uint64_t base, std::uint16_t size) {
  const std::uint64_t avail = base + split_ring::descriptor_table_bytes(size);
  const std::uint64_t used =
      round_up(avail + split_ring::avail_ring_bytes(size), split_ring::kUsedRingAlignment);
  return {size, GuestAddress{base}, GuestAddress{avail}, GuestAddress{used}};
}

std::uint64_t DriverQueue::end_of(std::uint64_t base, std::uint16_t size) {
  return round_up(to_integer(place(base, size).used_ring) + split_ring::used_ring_bytes(size), 16);
}

DriverQueue::DriverQueue(const GuestMemory& memory, const QueueLayout& layout, bool event_index)
    : memory_(&memory),
      descriptors_(
          bytes_at(memory, layout.descriptor_table, split_ring::descriptor_table_bytes(layout.size))),
      avail_(bytes_at(memory, layout.avail_ring, split_ring::avail_ring_bytes(layout.size))),
      used_(bytes_at(memory, layout.used_ring, split_ring::used_ring_bytes(layout.size))),
      layout_(layout),
      event_index_(event_index),
      chains_(layout.size) {
  for (std::uint16_t i = layout.size; i > 0; --i) {
    free_.push_back(static_cast<std::uint16_t>(i - 1));
  }
}

std::optional<std::uint16_t> DriverQueue::add(const ChainBuilder& chain) {
  const auto elements = chain.elements();
  if (elements.empty() || elements.size() > free_.size()) {
    return std::nullopt;
  }
  std::vector<std::uint16_t> indexes;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    indexes.push_back(free_.back());
    free_.pop_back();
  }
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const bool last = i + 1 == elements.size();
    const auto flags = static_cast<std::uint16_t>(elements[i].flags | (last ? 0 : VRING_DESC_F_NEXT));
    write_descriptor(indexes[i], {elements[i].address, elements[i].bytes, flags,
                                  last ? std::uint16_t{0} : indexes[i + 1]});
  }
  const std::uint16_t head = indexes.front();
  chains_[head] = std::move(indexes);
  add_raw_head(head);
  return head;
}

std::optional<std::uint16_t> DriverQueue::add_indirect(const ChainBuilder& chain, std::uint64_t table) {
  write_indirect_table(*memory_, table, chain.elements());
  const auto bytes = static_cast<std::uint32_t>(chain.elements().size() * sizeof(vring_desc));
  return add(ChainBuilder().element({table, bytes, VRING_DESC_F_INDIRECT}));
}

bool DriverQueue::publish() {
  const std::uint16_t before = published_avail_;
  // Release: the device sees the descriptors; seq_cst: the look at the event may not come before it.
  store(avail_ + split_ring::kIndex, next_avail_, std::memory_order_seq_cst);
  published_avail_ = next_avail_;
  if (!event_index_) {
    const auto flags = load<std::uint16_t>(used_ + split_ring::kFlags, std::memory_order_seq_cst);
    return before != next_avail_ && (flags & VRING_USED_F_NO_NOTIFY) == 0;
  }
  return split_ring::passed_event(avail_event(), next_avail_, before);
}

std::optional<DriverQueue::Used> DriverQueue::take_used() {
  if (load<std::uint16_t>(used_ + split_ring::kIndex, std::memory_order_acquire) == next_used_) {
    return std::nullopt;
  }
  const Used used = used_entry(next_used_);
  CHECK(used.head < layout_.size);
  ++next_used_;
  for (const std::uint16_t index : chains_[used.head]) {
    free_.push_back(index);
  }
  chains_[used.head].clear();
  return used;
}

bool DriverQueue::enable_interrupts() {
  if (event_index_) {
    set_used_event(next_used_);
  } else {
    set_avail_flags(0);
  }
  return used_index() != next_used_;
}

void DriverQueue::disable_interrupts() {
  if (event_index_) {
    // As far away as the index can be.
    set_used_event(static_cast<std::uint16_t>(next_used_ - 1));
  } else {
    set_avail_flags(VRING_AVAIL_F_NO_INTERRUPT);
  }
}

void DriverQueue::write_descriptor(std::uint16_t index, const vring_desc& descriptor) {
  std::memcpy(descriptors_ + index * sizeof descriptor, &descriptor, sizeof descriptor);
}

vring_desc DriverQueue::read_descriptor(std::uint16_t index) const {
  return split_ring::copy_descriptor(descriptors_ + index * sizeof(vring_desc));
}

void DriverQueue::set_avail_entry(std::uint16_t slot, std::uint16_t head) {
  store(avail_ + split_ring::avail_entry(slot & (layout_.size - 1U)), head, std::memory_order_relaxed);
}

void DriverQueue::set_avail_index(std::uint16_t index) {
  next_avail_ = index;
  published_avail_ = index;
  store(avail_ + split_ring::kIndex, index, std::memory_order_seq_cst);
}

void DriverQueue::set_avail_flags(std::uint16_t flags) {
  store(avail_ + split_ring::kFlags, flags, std::memory_order_seq_cst);
}

void DriverQueue::set_used_event(std::uint16_t event) {
  store(avail_ + split_ring::used_event(layout_.size), event, std::memory_order_seq_cst);
}

void DriverQueue::add_raw_head(std::uint16_t head) {
  set_avail_entry(next_avail_, head);
  ++next_avail_;
}

std::uint16_t DriverQueue::used_index() const {
  return load<std::uint16_t>(used_ + split_ring::kIndex, std::memory_order_seq_cst);
}

std::uint16_t DriverQueue::used_flags() const {
  return load<std::uint16_t>(used_ + split_ring::kFlags, std::memory_order_seq_cst);
}

std::uint16_t DriverQueue::avail_event() const {
  return load<std::uint16_t>(used_ + split_ring::avail_event(layout_.size), std::memory_order_seq_cst);
}

DriverQueue::Used DriverQueue::used_entry(std::uint16_t slot) const {
  std::byte* const entry = used_ + split_ring::used_entry(slot & (layout_.size - 1U));
  return {static_cast<std::uint16_t>(load<std::uint32_t>(entry, std::memory_order_relaxed)),
          load<std::uint32_t>(entry + sizeof(std::uint32_t), std::memory_order_relaxed)};
}

void write_indirect_table(const GuestMemory& memory, std::uint64_t table,
                          std::span<const ChainBuilder::Element> elements) {
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const bool last = i + 1 == elements.size();
    const vring_desc descriptor{
        elements[i].address, elements[i].bytes,
        static_cast<std::uint16_t>(elements[i].flags | (last ? 0 : VRING_DESC_F_NEXT)),
        static_cast<std::uint16_t>(last ? 0 : i + 1)};
    CHECK(memory.write_object(GuestAddress{table + i * sizeof descriptor}, descriptor));
  }
}

}  // namespace tapir::virtio::testing
